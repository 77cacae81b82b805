"""Open a model for evaluation or export: a run, one of its checkpoints, a model folder or name."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn
from transformers import PreTrainedTokenizerBase

from fki.config.resolve import Layer, resolve
from fki.config.schema import Config
from fki.core import registry
from fki.core.errors import ConfigError, DataError
from fki.core.paths import expand_path
from fki.core.types import Score
from fki.data.collator import ExampleTokenizer
from fki.methods.base import Method, make_method
from fki.modeling import load
from fki.modeling.load import BaseModel
from fki.modeling.quantized import dequantize
from fki.runs import checkpoint
from fki.runs.outcomes import best_rows
from fki.runs.run_dir import RUN, SCORES, Run, find_runs

MAX_LISTED = 8  # runs in a message
BEST, NEWEST = "best", "newest"  # in place of a checkpoint's name


@dataclass(frozen=True)
class LoadedModel:
    """A loaded model with its config, method and tokenizer."""

    name: str  # for display: the run's folder name, or the model's
    checkpoint: str  # "" for a plain model
    config: Config
    base: BaseModel
    model: nn.Module
    method: Method
    run: Run | None
    averaged: tuple[str, ...] = ()  # labels of the averaged checkpoints

    @property
    def label(self) -> str:
        """The model's name for display."""
        if self.averaged:
            return f"the average of {', '.join(self.averaged)}"
        return f"{self.name} after {self.checkpoint}" if self.checkpoint else self.name

    def example_tokenizer(
        self, tokenizer: PreTrainedTokenizerBase | None = None
    ) -> ExampleTokenizer:
        """An ExampleTokenizer with the run's lengths, over the given or the base tokenizer."""
        return load.make_example_tokenizer(tokenizer or self.base.tokenizer, self.config)


def find_run(target: str, named: str = "") -> tuple[Run | None, str]:
    """Find the run and the checkpoint's name for a path: RUN or RUN/checkpoints/NAME.

    Returns None for a model. Raises DataError for a folder of runs, and ConfigError if a checkpoint
    is named but the path is not a run.
    """
    folder = expand_path(target)
    if (folder / RUN).is_file():
        return Run.open(folder), named
    above = folder.resolve().parent.parent
    if (folder / checkpoint.WEIGHTS).is_file() and (above / RUN).is_file():
        return Run.open(above), named or folder.resolve().name
    if named:
        raise ConfigError(f"--checkpoint needs a run; '{target}' is not a run.")
    if runs := find_runs(folder):
        shown = [str(run.folder) for run in runs[:MAX_LISTED]]
        raise DataError(
            f"'{target}' is not a run; it contains {len(runs)} run{'s' * (len(runs) > 1)}.",
            hint=f"Name one of them: {', '.join(shown)}{' ...' * (len(runs) > len(shown))}",
        )
    return None, ""


def read_config(run: Run) -> Config:
    """The config of a run. Raises DataError if run.json has no valid config."""
    values = run.info.get("config")
    if not isinstance(values, dict):
        raise DataError(f"{run.folder / RUN} has no config.")
    try:
        return resolve([Layer(values, {})], options_of=registry.options_of).config
    except ConfigError as error:
        raise DataError(f"The config in {run.folder / RUN} cannot be used. {error}") from None


def find_best_checkpoint(run: Run) -> str:
    """The name of the run's best existing checkpoint, by exact match on kept and learned probes.

    Raises DataError if the run has no scores, or no checkpoint of a scored row.
    """
    try:
        rows = [
            (row["after"], [Score(**score) for score in row["scores"]])
            for row in run.read(SCORES)["rows"]
        ]
    except (KeyError, TypeError):
        raise DataError(f"{run.folder / SCORES} has no rows of scores.") from None
    existing = {folder.name for folder in checkpoint.list_checkpoints(run.folder)}
    for name in best_rows(rows, len(rows)):
        if name in existing:
            return name
    raise DataError(
        f"{run.folder} has no checkpoint of a scored row.",
        hint="Leave out --checkpoint to use the newest one.",
    )


def select_checkpoint(run: Run, name: str = "") -> Path:
    """A run's checkpoint by name, the `best`, or the newest ("" or `newest`).

    Raises DataError if it does not exist.
    """
    if name == BEST:
        return checkpoint.choose(run.folder, find_best_checkpoint(run))
    return checkpoint.choose(run.folder, "" if name == NEWEST else name)


def open_run(run: Run, name: str = "", *, is_plain: bool = False) -> LoadedModel:
    """Load a run's model with the weights of a checkpoint, as in `select_checkpoint`.

    Args:
        is_plain: are quantized weights of the base model loaded as their values in fp32?
    Raises DataError if the base model has changed since training, or if the weights do not fit.
    """
    config = read_config(run)
    folder = select_checkpoint(run, name)
    base = load.load_base_model(config.model, config.load_in)
    expected = run.info.get("model", {}).get("digest")
    if expected and load.weights_digest(base.model) != expected:
        raise DataError(
            f"The weights of '{config.model}' have changed since the training of {run.folder}.",
            hint="Restore the model's weights, or train again.",
        )
    if is_plain:
        base = base._replace(model=dequantize(base.model))
    method = make_method(config)
    model = method.prepare(base.model)
    checkpoint.load(folder, model)
    if not method.trains:
        method.load_state(checkpoint.load_method_state(folder))
    return LoadedModel(run.folder.resolve().name, folder.name, config, base, model, method, run)


def open_model(name: str, config: Config) -> LoadedModel:
    """Load a plain model by folder or name, with the settings of the given config."""
    plain = config.model_copy(update={"model": name, "method": "vanilla", "freeze_level": 0})
    base = load.load_base_model(name)
    return LoadedModel(Path(name).name, "", plain, base, base.model, make_method(plain), None)
