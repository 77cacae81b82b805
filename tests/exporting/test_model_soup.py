"""An average is the mean of what models are, scored on the same questions, or it is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fki.core.errors import ConfigError, DataError
from fki.exporting.export import export
from fki.exporting.formats.registry import load_format
from fki.exporting.model_soup import ModelSoup, SoupScores, average_checkpoints
from fki.runs.open_run import open_run
from fki.runs.recorded_answers import percent_correct, read_recorded_probes
from fki.runs.run_dir import Run
from fki.testing import logits
from fki.training.runner import Runner

MakeRun = Callable[..., Run]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, make_runner: Callable[..., Runner]) -> MakeRun:
    """A function of a method and settings: its run of two quarters, both of whose checkpoints are
    kept."""
    made: dict[str, Run] = {}

    def make(method: str, **settings: object) -> Run:
        key = f"{method} {settings}"
        if key not in made:
            folder = tmp_path_factory.mktemp("runs") / method
            runner = make_runner(folder, method=method, keep_last=2, learning_rate=1e-2, **settings)
            list(runner.events())
            made[key] = runner.run
        return made[key]

    return make


def whole(run: Run, name: str) -> dict[str, Tensor]:
    """The weights of a checkpoint's plain model."""
    opened = open_run(run, name)
    return dict(opened.method.fold(opened.model).state_dict())


@pytest.mark.parametrize("method", ["vanilla", "recadam", "mixreview", "lora"])
def test_the_average_of_what_folds_is_the_mean_of_the_plain_models(
    two: MakeRun, method: str
) -> None:
    run = two(method)
    first, second = whole(run, "2024-Q1"), whole(run, "2024-Q2")
    made = dict(average_checkpoints([run], ["2024-Q1", "2024-Q2"], 0).loaded.model.state_dict())
    assert any(not torch.equal(first[name], second[name]) for name in first)
    for name, tensor in made.items():
        assert torch.allclose(tensor, (first[name] + second[name]) / 2, atol=1e-6), name


@pytest.mark.parametrize("method", ["kadapter_2", "modular"])
def test_the_average_of_what_does_not_fold_is_the_mean_of_its_modules(
    two: MakeRun, method: str, tmp_path: Path
) -> None:
    run = two(method)
    parts = [dict(open_run(run, name).model.named_parameters()) for name in ("2024-Q1", "2024-Q2")]
    soup = average_checkpoints([run], ["2024-Q1", "newest"], 0)
    made = dict(soup.loaded.model.named_parameters())
    for name, tensor in made.items():
        assert torch.allclose(tensor, (parts[0][name] + parts[1][name]) / 2, atol=1e-6), name
    parity = export(
        soup.loaded, load_format("hf"), tmp_path / "out", recorded_probes=soup.recorded_probes
    )
    assert parity.holds and parity.probe_sets


def test_the_mean_of_the_factors_of_lora_would_be_another_model(two: MakeRun) -> None:
    run = two("lora")
    opened, other = open_run(run, "2024-Q1"), open_run(run, "2024-Q2")
    with torch.no_grad():
        for a, b in zip(opened.model.parameters(), other.model.parameters(), strict=True):
            a.copy_((a + b) / 2)
    soup = average_checkpoints([run], ["2024-Q1", "2024-Q2"], 0)
    assert not torch.allclose(logits(soup.loaded.model), logits(opened.model.eval()), atol=1e-5)


def test_all_are_asked_the_same_and_a_single_one_as_the_run_was(two: MakeRun) -> None:
    run = two("vanilla")
    soup = average_checkpoints([run], ["2024-Q1", "2024-Q2"], 0)
    recorded = read_recorded_probes(run, "2024-Q2", 0).recorded
    assert recorded is not None
    newest = soup.ingredients[1]
    assert newest.name.endswith("after 2024-Q2")
    assert newest.em == {name: percent_correct(said) for name, said in recorded.items()}
    assert [*soup.scores.em] == [*newest.em] and soup.recorded_probes.recorded is not None
    assert soup.scores.em == {
        name: percent_correct(said) for name, said in soup.recorded_probes.recorded.items()
    }


def test_seeds_can_be_averaged(two: MakeRun) -> None:
    runs = [two("lora", seed=seed) for seed in (0, 1)]
    soup = average_checkpoints(runs, ["newest"], 0)
    labels = [f"{run.folder.name} after 2024-Q2" for run in runs]
    assert [taste.name for taste in soup.ingredients] == labels
    assert soup.loaded.label == f"the average of {', '.join(labels)}"


def test_what_is_lost_against_the_best_is_told() -> None:
    tastes = [
        SoupScores("a", {"new": 50.0, "initial": 40.0}),
        SoupScores("b", {"new": 10.0, "initial": 60.0}),
    ]
    taste = SoupScores("average", {"new": 45.0, "initial": 70.0})
    soup = ModelSoup(None, None, taste, tastes)  # type: ignore[arg-type]
    assert soup.best.name == "a" and soup.losses() == {"new": 5.0}


def test_what_is_not_alike_is_not_averaged(two: MakeRun, untied_folder: Path) -> None:
    for other, what in (
        (two("recadam"), "methods differ"),
        (two("vanilla", model=str(untied_folder)), "base models differ"),
        (two("vanilla", prompt_format="prefix"), "prompt formats differ"),
    ):
        with pytest.raises(ConfigError, match=what):
            average_checkpoints([two("vanilla"), other], ["newest"], 0)
    kadapters = [two("kadapter_2"), two("kadapter_2", **{"kadapter": {"mode": "parallel"}})]
    with pytest.raises(ConfigError, match="another shape"):
        average_checkpoints(kadapters, ["newest"], 0)


@pytest.mark.parametrize("names", [["2024-Q1"], ["2024-Q2", "newest"], ["2024-Q1", "2024-Q1"]])
def test_one_checkpoint_is_no_average(two: MakeRun, names: list[str]) -> None:
    with pytest.raises(ConfigError, match="two or more different checkpoints"):
        average_checkpoints([two("vanilla")], names, 0)


def test_a_checkpoint_that_is_not_there_is_named(two: MakeRun) -> None:
    with pytest.raises(DataError, match="it has 2024-Q1, 2024-Q2"):
        average_checkpoints([two("vanilla")], ["2024-Q1", "2024-Q7"], 0)
