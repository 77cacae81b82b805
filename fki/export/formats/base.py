"""What every format is: how it is written, how its own runtime loads it, and what that answers."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from fki.core.errors import ConfigError
from fki.data.collator import ExampleTokenizer
from fki.modeling.runtime import Runtime
from fki.runs.open_run import LoadedModel


@dataclass(frozen=True)
class Format:
    """A format, and how near to the run its answers must be."""

    name: str
    runtime: str  # what loads it, for people
    write: Callable[[LoadedModel, Path], None]
    load: Callable[[Path, ExampleTokenizer], Runtime]
    tolerance: float = 1e-3
    """Nats by which an answer's log-likelihood may differ. fp32 sums taken in another order differ
    by some 1e-5 nats, a wrong weight by whole nats."""
    least_same: float = 1.0
    """The share of texts that must be the run's own, near-ties aside."""
    em_tolerance: float = 2.0
    """Points by which a probe set's exact match may differ, near-ties among them; where it has few
    probes, one of them."""
    reason: str = "fp32 sums in another order differ by some 1e-5 nats"
    """Why answers may differ by as much, for people."""
    library: str = "transformers"
    """What a model card names as the library."""
    loading: Callable[[Path, str], str] | None = None
    """Lines of Python that load what lies in a folder by another name for it, such as
    `owner/name`; None where `fki ask` is all there is."""
    precision: str = "fp32"
    """Of the weights, for people."""
    size: float = 4.0
    """Bytes that it takes for each parameter of the model, at most."""
    variant: Callable[..., "Format"] | None = None
    """The format with options of its own, by their names; None where it has none."""


def import_library(name: str, *, extra: str) -> Any:
    """A library that only some formats need. Raises ConfigError where it is not installed."""
    try:
        return import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"This format needs {name}, which cannot be imported: {error}.",
            hint=f"Run: pip install 'fki[{extra}]'",
        ) from None
