"""The request of an export, and the checks that need no model and no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fki.core.errors import ConfigError


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """The runs to export, the format and the output folder."""

    runs: Sequence[Path]
    output: Path  # new or empty
    to: str = "hf"  # name of the format
    checkpoint: str = ""  # of a single run; empty: the newest
    average: Sequence[str] = ()  # checkpoints of each run to average
    dtype: str | None = None  # of the weights; None: float32
    max_shard_size: str | None = None  # largest weight file, such as "2GB"
    probes: int = 500  # probes of each probe set in the parity check; 0: all
    push: str = ""  # OWNER/NAME of the repository on the Hub to upload to
    public: bool = False  # with `push`

    def check(self) -> None:
        """Raises FkiError for a request that cannot be met, before a model is loaded."""
        if self.average and self.to == "peft":
            raise ConfigError(
                "--average makes a plain model; --to peft exports LoRA weights only.",
                hint="Try: --to hf",
            )
        if self.average and self.checkpoint:
            raise ConfigError("--average names its checkpoints. Leave out --period and --best.")
        if len(self.runs) > 1 and not self.average:
            raise ConfigError(
                f"{len(self.runs)} runs are given; an export is of one run or of an average.",
                hint="Try: --average newest   or --average best",
            )
        if self.public and not self.push:
            raise ConfigError("--public needs --push OWNER/NAME.")
        if self.push:
            from fki.exporting import hub_upload

            hub_upload.check_repo(self.push, is_public=self.public)
