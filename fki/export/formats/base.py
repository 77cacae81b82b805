"""What every format is: how it is written, how its own runtime loads it, and what that answers."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from fki.core.errors import ConfigError
from fki.data.collator import Encoded, Encoder
from fki.modeling.decoding import Read, force, write, write_beams
from fki.runs.open_run import Opened

AT_ONCE = 64  # sources in a batch


class Runtime(Protocol):
    """A model as its runtime has loaded it; all tokens are ids, and sources and targets end in
    EOS."""

    has_beams: bool

    def write(
        self, sources: Sequence[list[int]], *, length: int, beams: int = 1, best: int = 1
    ) -> list[list[list[int]]]:
        """The `best` likeliest of the `beams` texts for each source, at most `length` tokens."""
        ...

    def score(self, sources: Sequence[list[int]], targets: Sequence[list[int]]) -> list[float]:
        """The log-likelihood of each source's target, nats."""
        ...


@dataclass(frozen=True)
class Format:
    """A format, and how near to the run its answers must be."""

    name: str
    runtime: str  # what loads it, for people
    write: Callable[[Opened, Path], None]
    load: Callable[[Path, Encoder], Runtime]
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


class TorchRuntime:
    """A model in PyTorch: the run itself, or what transformers or peft have loaded."""

    has_beams = True

    def __init__(self, model: Any, encoder: Encoder) -> None:
        self.model, self.encoder = model.eval(), encoder
        self.device = next(model.parameters()).device

    @torch.inference_mode()
    def write(
        self, sources: Sequence[list[int]], *, length: int, beams: int = 1, best: int = 1
    ) -> list[list[list[int]]]:
        """Greedy where there is one beam."""
        found: list[list[list[int]]] = []
        for some in parts(sources):
            read = self._read(some)
            if beams == 1:
                found += [[w.tokens] for w in write(self.model, read, length=length)]
            else:
                found += write_beams(self.model, read, length=length, beams=beams, best=best)
        return found

    @torch.inference_mode()
    def margins(self, sources: Sequence[list[int]], *, length: int) -> list[float]:
        """How near the second likeliest token came, in logits, where greedy decoding writes."""
        reads = map(self._read, parts(sources))
        written = (w for read in reads for w in write(self.model, read, length=length))
        return [float("inf") if w.margin is None else w.margin for w in written]

    @torch.inference_mode()
    def score(self, sources: Sequence[list[int]], targets: Sequence[list[int]]) -> list[float]:
        """Teacher-forced."""
        found: list[float] = []
        for some, wanted in zip(parts(sources), parts(targets), strict=True):
            pairs = [*enumerate(wanted)]
            forced = force(self.model, self._read(some), pairs, self.encoder)
            found += [f.log_likelihood for f in forced]
        return found

    def _read(self, sources: Sequence[list[int]]) -> Read:
        batch = self.encoder.batch([Encoded(source, [0]) for source in sources])
        ids, mask = batch.input_ids.to(self.device), batch.attention_mask.to(self.device)
        states: Tensor = self.model.get_encoder()(
            input_ids=ids, attention_mask=mask
        ).last_hidden_state
        return Read(states, mask)


def parts(rows: Sequence[list[int]]) -> Iterator[Sequence[list[int]]]:
    """The rows in their order, some at a time."""
    return (rows[i : i + AT_ONCE] for i in range(0, len(rows), AT_ONCE))


def library(name: str, *, extra: str) -> Any:
    """A library that only some formats need. Raises ConfigError where it is not installed."""
    try:
        return import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"This format needs {name}, which cannot be imported: {error}.",
            hint=f"Run: pip install 'fki[{extra}]'",
        ) from None
