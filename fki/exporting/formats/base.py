"""The contract of an export format: how it is written and loaded, and how exact it must be."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from fki.core.errors import ConfigError
from fki.core.optional import describe_extra_install
from fki.data.causal_tokenizer import CausalTokenizer
from fki.data.collator import ExampleTokenizer
from fki.modeling.runtime import Runtime
from fki.runs.open_run import LoadedModel


@dataclass(frozen=True)
class Format:
    """An export format, and the tolerances of its parity check."""

    name: str
    runtime: str  # the program that loads it, for messages
    write: Callable[[LoadedModel, Path], None]
    load: Callable[[Path, ExampleTokenizer], Runtime]
    tolerance: float = 1e-3
    """Largest difference of an answer's log-likelihood, nats. Two orders of fp32 summation differ
    by some 1e-5 nats, a wrong weight by whole nats."""
    least_same: float = 1.0
    """The share of texts that must equal the run's, near-ties aside."""
    em_tolerance: float = 2.0
    """Points by which the exact match of a probe set may differ, near-ties included; at least one
    probe of a small set."""
    reason: str = "fp32 sums in another order differ by some 1e-5 nats"
    """The reason for the tolerances, for the card."""
    library: str = "transformers"
    """The library that the model card names."""
    loading_code: Callable[[Path, str], str] | None = None
    """Lines of Python that load the folder under a given name, such as `owner/name`. None: only
    `fki ask` loads it."""
    precision: str = "fp32"
    """Precision of the weights, for the card."""
    bytes_per_parameter: float = 4.0
    """Upper bound of the disk space that a parameter needs while it is written."""
    with_options: Callable[..., "Format"] | None = None
    """Returns the format with options such as `dtype`. None: the format has no options."""
    check: Callable[[LoadedModel], None] | None = None
    """Raises ConfigError for a model that the format cannot hold, before any probe is answered."""
    asking_code: Callable[[str, str, int], str] | None = None
    """Lines of Python that follow `loading_code` and print a decoder's answer to a prompt. The
    arguments are the folder's name, the prompt with its special tokens, and the greatest number of
    tokens of an answer."""
    decoder: "Format | None" = None
    """The same format for decoders, where it is written and loaded otherwise."""

    def for_tokenizer(self, tokenizer: ExampleTokenizer) -> "Format":
        """The format of the models that this tokenizer is for: of decoders, or of all others."""
        is_decoder = isinstance(tokenizer, CausalTokenizer)
        return self.decoder if self.decoder is not None and is_decoder else self


def import_library(name: str, *, extra: str, hint: str = "") -> Any:
    """Import a library of an optional extra. Raises ConfigError where it is not installed.

    Args:
        hint: what to type, where it is less than the extra.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"This format needs {name}, which cannot be imported: {error}.",
            hint=hint or describe_extra_install(extra),
        ) from None
