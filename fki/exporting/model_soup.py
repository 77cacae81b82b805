"""Model soup: the average of several checkpoints, scored before it is written.

"Model soups" (Wortsman et al., 2022): the uniform mean of the weights of models that were
fine-tuned from one base can score higher than each of them. The average is over plain models: a
method is folded first, because the product of two mean LoRA factors is not the mean of their
products. A method without a plain model has its own modules averaged, together with all other
trained weights. Sums are in fp32.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import torch
from torch import Tensor, nn

from fki.core.errors import CannotFold, ConfigError
from fki.methods.base import Method
from fki.modeling.device import select_device
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
    """Exact match (%) of one model by probe set."""

    name: str
    em: dict[str, float]

    @property
    def mean(self) -> float:
        """The mean over the probe sets."""
        return fmean(self.em.values())


@dataclass(frozen=True, slots=True)
class ModelSoup:
    """An average with its scores and those of its ingredients, on the first run's probes."""

    loaded: LoadedModel
    recorded_probes: RecordedProbes  # with the answers of the average
    scores: SoupScores
    ingredients: list[SoupScores]

    @property
    def best(self) -> SoupScores:
        """The ingredient with the highest mean."""
        return max(self.ingredients, key=lambda scores: scores.mean)

    def losses(self) -> dict[str, float]:
        """By probe set, the points by which the average is below the best ingredient."""
        losses = {name: em - self.scores.em[name] for name, em in self.best.em.items()}
        return {name: points for name, points in losses.items() if points > 0}


def average_checkpoints(runs: Sequence[Run], names: Sequence[str], max_probes: int) -> ModelSoup:
    """Average each of the named checkpoints of each of the runs.

    Args:
        names: of checkpoints; "newest" and "best" are allowed.
        max_probes: probes of each probe set that score them; 0 for all.
    Raises:
        ConfigError: fewer than two checkpoints, or their base, tokenizer or method differ.
        DataError: a checkpoint cannot be read.
    """
    chosen = [(run, select_checkpoint(run, name).name) for run in runs for name in names]
    if len({(run.folder.resolve(), name) for run, name in chosen}) < max(2, len(chosen)):
        raise ConfigError(
            f"--average needs two or more different checkpoints, not {format_checkpoints(chosen)}.",
            hint="Try: --average 2024-Q1,2024-Q2   or several runs: --average newest",
        )
    _check_compatible(runs)
    newest = _newest_checkpoint(runs[0], chosen)
    probes = replace(read_recorded_probes(runs[0], newest, max_probes), recorded=None)
    first, ingredients = None, []
    total: dict[str, Tensor] = {}
    for run, name in chosen:  # one after the other: only two models are in memory
        loaded = open_run(run, name, is_plain=True)
        ingredients.append(_score_probes(loaded, probes)[0])
        model, method = _fold_or_keep(loaded)
        _check_shapes(total, model, loaded)
        for key, tensor in model.state_dict().items():
            total[key] = total[key] + tensor if key in total else tensor.float().clone()
        first = first or replace(loaded, model=model, method=method)
    assert first is not None
    first.model.load_state_dict({key: tensor / len(chosen) for key, tensor in total.items()})
    averaged = tuple(scores.name for scores in ingredients)
    average = replace(first, checkpoint=newest, averaged=averaged)
    scores, answers = _score_probes(average, probes)
    return ModelSoup(average, replace(probes, recorded=answers), scores, ingredients)


def format_checkpoints(chosen: Sequence[tuple[Run, str]]) -> str:
    """The names of the checkpoints, with their runs where there are several."""
    is_single_run = len({run for run, _ in chosen}) == 1
    return ", ".join(name if is_single_run else f"{run.folder.name} {name}" for run, name in chosen)


def _newest_checkpoint(run: Run, chosen: Sequence[tuple[Run, str]]) -> str:
    """The newest of a run's chosen checkpoints."""
    names = {name for chosen_run, name in chosen if chosen_run is run}
    return [f.name for f in checkpoint.list_checkpoints(run.folder) if f.name in names][-1]


def _check_compatible(runs: Sequence[Run]) -> None:
    """Raises ConfigError where the weights of two runs have different meanings."""
    first, *others = [_compatibility_key(run) for run in runs]
    for run, other in zip(runs[1:], others, strict=True):
        for property_name, value in first.items():
            if other[property_name] != value:
                raise ConfigError(
                    f"Cannot average {run.folder} with {runs[0].folder}: their {property_name} "
                    f"differ, {other[property_name]} and {value}.",
                    hint="Average runs of one base model and method, such as several seeds.",
                )


def _compatibility_key(run: Run) -> dict[str, object]:
    info = run.info
    config, model = info.get("config", {}), info.get("model", {})
    return {
        "methods": str(config.get("method")),
        "base models": str(model.get("digest"))[:12],
        "tokenizers": str(model.get("tokenizer"))[:12],
        "prompt formats": config.get("prompt_format", config.get("prompt")),
    }


def _fold_or_keep(loaded: LoadedModel) -> tuple[nn.Module, Method]:
    """The plain model with vanilla; or the prepared model with its method, where it has no plain
    one."""
    model = loaded.model.float()
    try:
        return loaded.method.fold(model), Method(loaded.config)
    except CannotFold:
        return model, loaded.method


def _check_shapes(total: dict[str, Tensor], model: nn.Module, loaded: LoadedModel) -> None:
    """Raises ConfigError where the model's parameters have other names or shapes."""
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    expected = {name: tensor.shape for name, tensor in total.items()}
    if total and shapes != expected:
        name = sorted(set(shapes.items()) ^ set(expected.items()))[0][0]
        raise ConfigError(
            f"Cannot average {loaded.name} with the other runs: {name} is missing, unknown or has "
            "another shape.",
            hint=f"Average runs with the same options of {loaded.config.method}.",
        )


@torch.no_grad()
def _score_probes(
    loaded: LoadedModel, probes: RecordedProbes
) -> tuple[SoupScores, dict[str, list[RecordedAnswer]]]:
    config = loaded.config
    model = loaded.model.to(select_device())
    tokenizer = loaded.example_tokenizer()
    runtime = TorchRuntime(model, tokenizer)
    answers = probes.predict(
        runtime,
        tokenizer,
        length=config.output_length,
        beams=config.num_beams,
    )
    em = {name: percent_correct(rows) for name, rows in answers.items()}
    return SoupScores(loaded.label, em), answers
