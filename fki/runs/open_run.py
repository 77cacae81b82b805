"""A model to ask: a run, one of its checkpoints, or any model folder or name."""

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
from fki.runs import checkpoint
from fki.runs.outcomes import best_rows
from fki.runs.run_dir import RUN, SCORES, Run, find_runs

BEST, NEWEST = "best", "newest"  # stand for the names of a run's checkpoints


@dataclass(frozen=True)
class LoadedModel:
    """A model as it was trained, with what it needs to be asked or folded."""

    name: str  # for people: the run's folder name, or the model's
    checkpoint: str  # "" for a plain model
    config: Config
    base: BaseModel
    model: nn.Module
    method: Method
    run: Run | None
    averaged: tuple[str, ...] = ()  # the checkpoints that it is the mean of, in words

    @property
    def label(self) -> str:
        """What it is, for people."""
        if self.averaged:
            return f"the average of {', '.join(self.averaged)}"
        return f"{self.name} after {self.checkpoint}" if self.checkpoint else self.name

    def example_tokenizer(
        self, tokenizer: PreTrainedTokenizerBase | None = None
    ) -> ExampleTokenizer:
        """A tokenizer of examples with the run's lengths, over the base model's tokenizer or a
        given one."""
        return ExampleTokenizer(
            tokenizer or self.base.tokenizer, self.config.input_length, self.config.output_length
        )


def find_run(target: str, named: str = "") -> tuple[Run | None, str]:
    """The run that a path means, RUN or RUN/checkpoints/NAME, and the checkpoint's name.

    None stands for a model. Raises DataError for a folder of runs, ConfigError where a checkpoint
    is `named` and there is no run.
    """
    folder = expand_path(target)
    if (folder / RUN).is_file():
        return Run.open(folder), named
    above = folder.resolve().parent.parent
    if (folder / checkpoint.WEIGHTS).is_file() and (above / RUN).is_file():
        return Run.open(above), named or folder.resolve().name
    if named:
        raise ConfigError(f"--checkpoint is one of a run's, and '{target}' is no run.")
    if runs := find_runs(folder):
        raise DataError(
            f"'{target}' is no run, it holds {len(runs)}.", hint=f"Run: fki eval {runs[0].folder}"
        )
    return None, ""


def read_config(run: Run) -> Config:
    """The config that a run was made with. Raises DataError where run.json does not hold one."""
    values = run.info.get("config")
    if not isinstance(values, dict):
        raise DataError(f"{run.folder / RUN} holds no config.")
    try:
        return resolve([Layer(values, {})], options_of=registry.options_of).config
    except ConfigError as error:
        raise DataError(f"The config in {run.folder / RUN} cannot be used. {error}") from None


def find_best_checkpoint(run: Run) -> str:
    """The name of the run's best checkpoint that is still there: most kept and most learned.

    Raises DataError where the run has no scores, or of no row a checkpoint.
    """
    try:
        rows = [
            (row["after"], [Score(**score) for score in row["scores"]])
            for row in run.read(SCORES)["rows"]
        ]
    except (KeyError, TypeError):
        raise DataError(f"{run.folder / SCORES} holds no rows of scores.") from None
    kept = {folder.name for folder in checkpoint.list_checkpoints(run.folder)}
    for name in best_rows(rows, len(rows)):
        if name in kept:
            return name
    raise DataError(
        f"{run.folder} has no checkpoint of a row that was scored.",
        hint="Leave --checkpoint out for the newest one.",
    )


def select_checkpoint(run: Run, name: str = "") -> Path:
    """A run's checkpoint: the newest unless named, or the `best`. Raises DataError where there is
    none of this name."""
    if name == BEST:
        return checkpoint.choose(run.folder, find_best_checkpoint(run))
    return checkpoint.choose(run.folder, "" if name == NEWEST else name)


def open_run(run: Run, name: str = "") -> LoadedModel:
    """A run's model with the weights of a checkpoint, as `checkpoint_of` has it.

    Raises DataError where the base model is not the one that was trained, or weights do not fit.
    """
    config = read_config(run)
    folder = select_checkpoint(run, name)
    base = load.load_base_model(config.model)
    expected = run.info.get("model", {}).get("digest")
    if expected and load.weights_digest(base.model) != expected:
        raise DataError(
            f"'{config.model}' no longer has the weights that {run.folder} was trained from.",
            hint="Give the model back its old weights, or train again.",
        )
    method = make_method(config)
    model = method.prepare(base.model)
    checkpoint.load(folder, model)
    return LoadedModel(run.folder.resolve().name, folder.name, config, base, model, method, run)


def open_model(name: str, config: Config) -> LoadedModel:
    """A plain model by folder or name, asked with the given config's protocol."""
    plain = config.model_copy(update={"model": name, "method": "vanilla", "freeze_level": 0})
    base = load.load_base_model(name)
    return LoadedModel(Path(name).name, "", plain, base, base.model, make_method(plain), None)
