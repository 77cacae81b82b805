"""The options side by side: which arms they are, what they cost, and which are missing."""

import shlex
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fki.comparison import training_choice
from fki.comparison.compare import compare
from fki.comparison.training_choice import find_training_choice
from fki.comparison.types import Arm, Cost, Estimate, Group, TrainingChoice
from fki.runs.run_dir import SAMPLES, Run
from fki.testing.toy_runs import write_run

BETTER = {"invariant": (0.9, 0.95, 0.97, 1.0), "new": (0.1, 0.9, 0.95, 1.0)}


def choose(folder: Path, *methods: str, **settings: object) -> TrainingChoice | None:
    for method in methods:
        write_run(
            folder / f"{method}-s0", method, 0, BETTER if method == "lora" else None, **settings
        )
    [group] = compare([folder]).groups
    return group.choice


def test_the_options_are_untouched_retrieval_best_trained_and_joint(tmp_path: Path) -> None:
    choice = choose(tmp_path, "vanilla", "lora", "recadam", "joint", "retrieval")
    assert choice is not None and choice.missing == {}
    assert choice.probe_sets == ("invariant", "updated", "new")
    assert [(option.arm, option.label) for option in choice.options] == [
        ("", "untouched model"),
        ("retrieval", "retrieval"),
        ("lora", "lora, best of 3 trained arms"),
        ("joint", "joint"),
    ]


def test_figures_are_those_of_the_answers(tmp_path: Path) -> None:
    choice = choose(tmp_path, "lora", "joint")
    assert choice is not None
    rows = [*Run(tmp_path / "lora-s0").read_lines(SAMPLES)]
    untouched, lora, _ = choice.options
    for name in choice.probe_sets:
        last = [r["em"] for r in rows if (r["probe_set"], r["after"]) == (name, "2024-Q3")]
        assert lora.em[name].value == pytest.approx(100 * np.mean(last))
    before = [r["em"] for r in rows if (r["probe_set"], r["after"]) == ("invariant", "base")]
    assert untouched.em["invariant"].value == pytest.approx(100 * np.mean(before))
    assert lora.mean == pytest.approx(np.mean([lora.em[n].value for n in choice.probe_sets]))


def test_a_missing_bound_has_the_command_of_a_comparable_run(tmp_path: Path) -> None:
    choice = choose(
        tmp_path,
        "vanilla",
        dataset="my data",
        dataset_version="month",
        prompt_format="prefix",
        max_periods=3,
    )
    assert choice is not None and [*choice.missing] == ["joint", "retrieval"]
    words = shlex.split(choice.missing["joint"])
    assert words[:6] == ["fki", "train", "--preset", "t5", "--method", "joint"]
    assert words[words.index("--dataset") + 1] == "my data"
    assert words[words.index("--version") + 1] == "month"
    assert words[-1] == str(tmp_path / "joint-s0")
    (tmp_path / "joint-s0").mkdir()
    [group] = compare([tmp_path]).groups
    assert group.choice is not None
    assert group.choice.missing["joint"].endswith(f"--output-dir {tmp_path / 'joint-s0-2'}")
    stated = {words[i + 1] for i, word in enumerate(words) if word == "--set"}
    assert stated == {"max_periods=3", "prompt_format=prefix"}


def test_no_bound_can_be_compared_with_runs_that_reset_their_weights(tmp_path: Path) -> None:
    choice = choose(tmp_path, "vanilla", "lora", reset="base")
    assert choice is not None and choice.missing == {}


def test_without_a_trained_period_there_is_nothing_to_choose() -> None:
    cost = Cost(1, 0.0, 0.0, 0.0, 0.0, None)
    arm = Arm("a", "vanilla", (), (0,), {}, cost, {"new": Estimate(1.0)}, [], {"new": [1.0]})
    assert find_training_choice(Group("g", ("base",), (arm,), (), "")) is None


def test_an_undefined_probe_set_leaves_the_mean_undefined(tmp_path: Path) -> None:
    choice = choose(tmp_path, "vanilla", "joint")
    assert choice is not None
    option = choice.options[-1]
    em = {**option.em, "new": Estimate(None)}
    assert type(option)(option.label, option.arm, em, option.cost).mean is None


def test_the_command_of_a_bound_is_that_of_the_arm_s_family() -> None:
    for prompt_format, preset in (("sentinel", "t5"), ("completion", "causal")):
        arm = SimpleNamespace(
            runs=["runs/vanilla-s0"], seeds=[0], settings={"prompt_format": prompt_format}
        )
        found = training_choice._command(arm, "joint")  # type: ignore[arg-type]
        assert f"--preset {preset} --method joint" in found
