"""Which runs `--methods` and `--seeds` mean, and where they go."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fki.config import presets
from fki.config.resolve import Layer, resolve
from fki.config.sweep import SweepPlan, plan_sweep
from fki.core import registry
from fki.core.errors import ConfigError

Make = Callable[..., SweepPlan]


def layers_of(*names: str, sets: tuple[str, ...] = (), **given: Any) -> Callable[..., list[Layer]]:
    return lambda **flags: presets.read_layers([*names], {}, sets, given | flags)


@pytest.fixture
def make() -> Make:
    """A function of methods, seeds, presets and settings: their cells."""

    def make(
        methods: str | None,
        seeds: str | None,
        *names: str,
        sets: tuple[str, ...] = (),
        **given: Any,
    ) -> SweepPlan:
        used = names or ("t5",)
        return plan_sweep(layers_of(*used, sets=sets, **given), methods, seeds, used)

    return make


def names(cells: SweepPlan) -> list[str]:
    return [cell.name for cell in cells.cells]


def test_a_cell_is_a_method_and_a_seed_and_seeds_come_one_after_the_other(make: Make) -> None:
    found = make("lora,recadam", "2")
    assert names(found) == ["lora-s0", "recadam-s0", "lora-s1", "recadam-s1"]
    assert [cell.config.seed for cell in found.cells] == [0, 0, 1, 1]
    assert found.cells[0].folder == found.folder / "lora-s0"


@pytest.mark.parametrize(
    ("seeds", "found"), [("3", [0, 1, 2]), ("0,3,7", [0, 3, 7]), ("5,", [5]), ("1,1, 2", [1, 2])]
)
def test_seeds_are_a_count_or_a_list(make: Make, seeds: str, found: list[int]) -> None:
    assert [cell.config.seed for cell in make("lora", seeds).cells] == found


def test_all_methods_are_those_of_the_registry_without_the_bounds(make: Make) -> None:
    bounds, every = registry.bound_names(), registry.method_names()
    others = [name for name in every if name not in bounds]
    assert names(make("all", None)) == [f"{name}-s0" for name in others]
    assert names(make("bounds", None)) == [f"{name}-s0" for name in bounds]
    assert names(make("lora, bounds", None)) == ["lora-s0", "joint-s0", "retrieval-s0"]
    assert sorted(names(make("all,bounds", None))) == sorted(f"{name}-s0" for name in every)


def test_the_untouched_model_is_a_cell_of_its_own(make: Make) -> None:
    found = make("initial,vanilla", "2")
    assert names(found) == ["initial-s0", "vanilla-s0", "initial-s1", "vanilla-s1"]
    assert [cell.config.check_validation for cell in found.cells] == [True, False] * 2


def test_without_seeds_or_methods_the_settings_say_which(make: Make) -> None:
    assert names(make("lora,vannila,vanilla", None, seed=4)) == ["lora-s4", "vanilla-s4"]
    assert names(make(None, "2", "t5_recadam")) == ["recadam-s0", "recadam-s1"]


@pytest.mark.parametrize("method", registry.BUILTIN)
def test_a_cell_has_the_settings_of_the_methods_own_preset(make: Make, method: str) -> None:
    [cell] = make(method, "1,", sets=("max_probes_per_set=9",)).cells
    alone = layers_of(f"t5_{method}", sets=("max_probes_per_set=9",), seed=1)()
    found = resolve(alone, options_of=registry.options_of).config
    assert cell.config == found.model_copy(update={"output_dir": str(cell.folder)})


def test_where_the_preset_has_none_for_a_method_only_the_method_is_set(make: Make) -> None:
    [cell] = make("kadapter_2", None, "t5_vanilla").cells
    assert (cell.config.method, cell.config.freeze_level) == ("kadapter_2", 0)


def test_the_folder_follows_from_the_shared_settings_alone(make: Make) -> None:
    first = make("lora", "1").folder
    assert first.parent == Path("runs") and first.name.startswith("t5-quarter-")
    assert make("all", "3,4").folder == first == make(None, "2", output_log="a.csv").folder
    others = [
        make("lora", "1", sets=("learning_rate=1e-4",)),
        make("lora", "1", sets=("lora.r=2",)),
        make("lora", "1", dataset="mine"),
        make("lora", "1", "t5", "t5_day"),
    ]
    assert len({first, *(cells.folder for cells in others)}) == 5
    assert others[-1].folder.name.startswith("t5-t5_day-quarter-")
    assert make("lora", "1", output_dir="mine").cells[0].folder == Path("mine/lora-s0")


@pytest.mark.parametrize(
    ("log", "found"),
    [("", ""), ("logs", "logs/lora-s0"), ("logs/a.csv", "logs/a-lora-s0.csv")],
)
def test_each_cell_has_a_further_copy_of_its_own(make: Make, log: str, found: str) -> None:
    assert make("lora", None, output_log=log).cells[0].config.output_log == found


def test_the_parts_are_all_cells_and_each_is_in_one(make: Make) -> None:
    cells = make("lora,recadam", "3")
    parts = [cells.partition(f"{i}/4") for i in (1, 2, 3, 4)]
    assert sorted(cell.name for part in parts for cell in part) == sorted(names(cells))
    assert cells.partition("") == cells.cells and cells.partition("7/7") == ()


@pytest.mark.parametrize("part", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2"])
def test_a_part_that_there_is_not_is_an_error(make: Make, part: str) -> None:
    with pytest.raises(ConfigError, match=r"--partition must be I/N"):
        make("lora", "3").partition(part)


@pytest.mark.parametrize(
    ("methods", "seeds", "says"),
    [
        ("lora,recadem", "1", "Did you mean 'recadam'"),
        (",", "1", "--methods must be comma-separated"),
        ("lora", "0", "a count of at least 1"),
        ("lora", "a", "a count of at least 1"),
        ("lora", "1,-2", "a count of at least 1"),
        ("lora", "20241231", "at most 1000 runs"),
    ],
)
def test_what_is_no_grid_is_an_error(make: Make, methods: str, seeds: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make(methods, seeds)


def test_all_methods_of_a_decoder_leave_out_those_that_need_an_encoder() -> None:
    found = {p: plan_sweep(layers_of(p), "all", None, [p]).cells for p in ("t5", "causal")}
    names = {preset: {cell.config.method for cell in cells} for preset, cells in found.items()}
    assert names["t5"] - names["causal"] == {"modular", "kilm"}
    assert names["causal"] < names["t5"]
    # the preset of each method is the decoder's
    assert {cell.config.prompt_format for cell in found["causal"]} == {"completion"}
