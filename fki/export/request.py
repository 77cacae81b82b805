"""What an export is asked for, and what of it can be refused before torch is imported."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fki.core.errors import ConfigError


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What to export, and to where."""

    runs: Sequence[Path]
    output: Path  # new or empty
    to: str = "hf"  # a format's name
    checkpoint: str = ""  # of a single run; empty: the newest
    average: Sequence[str] = ()  # checkpoints to average, of each run
    dtype: str | None = None  # of the weights; None: float32
    max_shard_size: str | None = None  # of a weight file, such as "2GB"
    probes: int = 500  # of each probe set that the check asks; 0: all
    push: str = ""  # OWNER/NAME on the Hub, where it will be uploaded
    public: bool = False  # with `push`

    def check(self) -> None:
        """Raises FkiError for what can be refused before a model is loaded."""
        if self.average and self.to == "peft":
            raise ConfigError(
                "An average is a plain model, not LoRA's additions.", hint="Try: --to hf"
            )
        if self.average and self.checkpoint:
            raise ConfigError(
                "--average names its checkpoints itself; leave --period and --best out."
            )
        if len(self.runs) > 1 and not self.average:
            raise ConfigError(
                f"{len(self.runs)} runs make one model only where they are averaged.",
                hint="Try: --average newest   or --average best",
            )
        if self.public and not self.push:
            raise ConfigError("--public is for --push OWNER/NAME.")
        if self.push:
            from fki.export import hub_upload

            hub_upload.check_repo(self.push, is_public=self.public)
