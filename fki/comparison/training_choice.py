"""Should a model be trained at all? The untouched model, retrieval, the best trained arm and joint
training side by side: exact match after the stream, and the cost per period and per question."""

from collections.abc import Iterator
from pathlib import Path

from fki.comparison.recommendation import final_probe_sets
from fki.comparison.types import Arm, Group, Option, TrainingChoice
from fki.config.model_family import DECODER, ENCODER_DECODER
from fki.config.schema import Config, evaluation_settings
from fki.core import registry
from fki.core.formatting import format_command
from fki.core.types import CAUSAL_FORMATS

JOINT, RETRIEVAL = "joint", "retrieval"
FLAGS = {"model": "--model", "dataset": "--dataset", "dataset_version": "--version"}
# Other values of these give the same probes and, up to rounding, the same answers.
NOT_STATED = ("eval_batch_size", "eval_batch_tokens")


def find_training_choice(group: Group) -> TrainingChoice | None:
    """The options of a group; None where no arm has gone through a stream."""
    learned = [arm for arm in group.arms if arm.cost.periods]
    sets = final_probe_sets(learned)
    if not sets:
        return None
    by_method = {
        name: [arm for arm in learned if arm.method == name] for name in (JOINT, RETRIEVAL)
    }
    bounds = registry.bound_names()
    trained = [_option(arm, arm.name, sets) for arm in learned if arm.method not in bounds]
    resets = learned[0].settings.get("reset") == "base"  # which no bound can be compared with
    ranked = sorted(trained, key=lambda option: -(option.mean if option.mean is not None else -1.0))
    return TrainingChoice(
        sets,
        (
            _untouched(learned[0], sets),
            *(_option(arm, arm.name, sets) for arm in by_method[RETRIEVAL]),
            *(_best(ranked[0], len(ranked)) for _ in ranked[:1]),
            *(_option(arm, arm.name, sets) for arm in by_method[JOINT]),
        ),
        {n: _command(learned[0], n) for n, arms in by_method.items() if not arms and not resets},
    )


def _untouched(arm: Arm, sets: tuple[str, ...]) -> Option:
    em = {name: arm.estimate(f"{name}.before") for name in sets}
    return Option("untouched model", "", em, None)


def _option(arm: Arm, label: str, sets: tuple[str, ...]) -> Option:
    return Option(label, arm.name, {name: arm.estimate(name) for name in sets}, arm.cost)


def _best(option: Option, count: int) -> Option:
    label = f"{option.arm}, best of {count} trained arms" if count > 1 else option.arm
    return Option(label, option.arm, option.em, option.cost)


def _command(arm: Arm, method: str) -> str:
    """The command of a run of this method that can be compared with the arm."""
    output = _new_folder(Path(arm.runs[0]).with_name(f"{method}-s{arm.seeds[0]}"))
    seed = ("--seed", str(arm.seeds[0])) if arm.seeds[0] else ()
    options = [*_stated_settings(arm), *seed, "--output-dir", str(output)]
    preset = DECODER if arm.settings.get("prompt_format") in CAUSAL_FORMATS else ENCODER_DECODER
    return format_command("fki", "train", "--preset", preset, "--method", method, *options)


def _new_folder(folder: Path) -> Path:
    """The folder, or one with a number if it exists."""
    number = 2
    found = folder
    while found.exists():
        found = folder.with_name(f"{folder.name}-{number}")
        number += 1
    return found


def _stated_settings(arm: Arm) -> Iterator[str]:
    """Options for the settings of the evaluation that differ from their defaults."""
    defaults = Config()
    for key in ("model", *evaluation_settings()):
        value = arm.settings.get(key)
        if key in NOT_STATED or value is None or value == getattr(defaults, key):
            continue
        if key in FLAGS:
            yield from (FLAGS[key], str(value))
        else:
            text = str(value).lower() if isinstance(value, bool) else str(value)
            yield from ("--set", f"{key}={text}")
