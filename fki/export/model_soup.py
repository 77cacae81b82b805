"""The average of several checkpoints, scored before it is written (Wortsman et al., 2022).

"Model soups": the uniform mean of the weights of models that were fine-tuned from one base may do
better than each of them. What is averaged is the plain model that a method folds into, because the
product of two mean factors of LoRA is not the mean of their products; a method that has no plain
model has its own modules averaged, beside whatever else of it trains. Sums are fp32.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import torch
from torch import Tensor, nn

from fki.core.errors import CannotFold, ConfigError
from fki.export.export import encoder_of
from fki.methods.base import Method
from fki.modeling.device import make_accelerator
from fki.modeling.runtime import TorchRuntime
from fki.runs import checkpoint
from fki.runs.open_run import LoadedModel, open_run, select_checkpoint
from fki.runs.recorded_answers import (
    RecordedAnswer,
    RecordedProbes,
    percent_correct,
    read_recorded_probes,
)
from fki.runs.run_dir import Run


@dataclass(frozen=True, slots=True)
class SoupScores:
    """Exact match (%) by probe set, on the same questions."""

    name: str
    em: dict[str, float]

    @property
    def mean(self) -> float:
        """Over the probe sets."""
        return fmean(self.em.values())


@dataclass(frozen=True, slots=True)
class ModelSoup:
    """An average, and how it and its ingredients did on the first run's questions."""

    opened: LoadedModel
    quiz: RecordedProbes  # with the average's own answers
    taste: SoupScores
    ingredients: list[SoupScores]

    @property
    def best(self) -> SoupScores:
        """The ingredient with the highest mean."""
        return max(self.ingredients, key=lambda one: one.mean)

    def losses(self) -> dict[str, float]:
        """By probe set, in how many points the average is below the best ingredient."""
        lost = {name: em - self.taste.em[name] for name, em in self.best.em.items()}
        return {name: points for name, points in lost.items() if points > 0}


def average_checkpoints(runs: Sequence[Run], names: Sequence[str], most: int) -> ModelSoup:
    """The mean of each of these checkpoints of each of these runs.

    Args:
        names: of checkpoints, "newest" and "best" among them.
        most: questions of each probe set that all of them are asked; 0 for all.
    Raises:
        ConfigError: it is a single one, or they are not of one base, tokenizer and method.
        DataError: a checkpoint cannot be read.
    """
    chosen = [(run, select_checkpoint(run, name).name) for run in runs for name in names]
    if len({(run.folder.resolve(), name) for run, name in chosen}) < max(2, len(chosen)):
        raise ConfigError(
            "--average needs two different checkpoints or more, and has "
            f"{format_checkpoints(chosen)}.",
            hint="Try: --average 2024-Q1,2024-Q2   or several runs: --average newest",
        )
    _check_compatible(runs)
    quiz = replace(
        read_recorded_probes(runs[0], _newest_checkpoint(runs[0], chosen), most), recorded=None
    )
    first, tastes = None, []
    total: dict[str, Tensor] = {}
    for run, name in chosen:  # one after the other: only two models are in memory
        opened = open_run(run, name)
        tastes.append(_score_probes(opened, quiz)[0])
        model, method = _fold_or_keep(opened)
        _check_shapes(total, model, opened)
        for name, tensor in model.state_dict().items():
            total[name] = total[name] + tensor if name in total else tensor.float().clone()
        first = first or replace(opened, model=model, method=method)
    assert first is not None
    first.model.load_state_dict({name: tensor / len(chosen) for name, tensor in total.items()})
    averaged = tuple(taste.name for taste in tastes)
    made = replace(first, checkpoint=_newest_checkpoint(runs[0], chosen), averaged=averaged)
    taste, answers = _score_probes(made, quiz)
    return ModelSoup(made, replace(quiz, recorded=answers), taste, tastes)


def format_checkpoints(chosen: Sequence[tuple[Run, str]]) -> str:
    """Checkpoints in words; with their runs where these are several."""
    is_one = len({run for run, _ in chosen}) == 1
    return ", ".join(name if is_one else f"{run.folder.name} {name}" for run, name in chosen)


def _newest_checkpoint(run: Run, chosen: Sequence[tuple[Run, str]]) -> str:
    """The newest of a run's checkpoints that are chosen."""
    names = {name for one, name in chosen if one is run}
    return [f.name for f in checkpoint.list_checkpoints(run.folder) if f.name in names][-1]


def _check_compatible(runs: Sequence[Run]) -> None:
    """Raises ConfigError where runs differ in what their weights mean."""
    first, *others = [_compatibility_key(run) for run in runs]
    for run, other in zip(runs[1:], others, strict=True):
        for what, value in first.items():
            if other[what] != value:
                raise ConfigError(
                    f"{run.folder} cannot be averaged with {runs[0].folder}: their {what} differ, "
                    f"{other[what]} and {value}.",
                    hint="Average runs of one base model and method, such as several seeds.",
                )


def _compatibility_key(run: Run) -> dict[str, object]:
    info = run.info
    config, model = info.get("config", {}), info.get("model", {})
    method = str(config.get("method"))
    return {
        "methods": method,
        "base models": str(model.get("digest"))[:12],
        "tokenizers": str(model.get("tokenizer"))[:12],
        "prompts": config.get("prompt_format"),
    }


def _fold_or_keep(opened: LoadedModel) -> tuple[nn.Module, Method]:
    """The plain model, and a method that leaves it as it is; or the prepared one, and its own."""
    model = opened.model.float()
    try:
        return opened.method.fold(model), Method(opened.config)
    except CannotFold:
        return model, opened.method


def _check_shapes(total: dict[str, Tensor], model: nn.Module, opened: LoadedModel) -> None:
    """Raises ConfigError where the method made other parameters."""
    found = {name: tensor.shape for name, tensor in model.state_dict().items()}
    wanted = {name: tensor.shape for name, tensor in total.items()}
    if total and found != wanted:
        name = sorted(set(found.items()) ^ set(wanted.items()))[0][0]
        raise ConfigError(
            f"{opened.name} cannot be averaged with the others: its {name} is missing, unknown or "
            "of another shape.",
            hint=f"Average runs with the same options of {opened.config.method}.",
        )


@torch.no_grad()
def _score_probes(
    opened: LoadedModel, quiz: RecordedProbes
) -> tuple[SoupScores, dict[str, list[RecordedAnswer]]]:
    config = opened.config
    model = opened.model.to(make_accelerator(config).device)
    encoder = encoder_of(opened, opened.base.tokenizer)
    runtime = TorchRuntime(model, encoder)
    said = quiz.answers(runtime, encoder, length=config.output_length, beams=config.num_beams)
    return SoupScores(
        opened.label, {one: percent_correct(some) for one, some in said.items()}
    ), said
