"""`fki plan`: the settings with their origins, and an estimate; no run is started."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Fki = Callable[..., Any]


def test_a_plan_shows_the_origin_of_each_value(
    fki: Fki, dataset: Path, short: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FKI_EVAL_BATCH_SIZE", "9")
    shown = fki("plan", "--preset", "t5_recadam", "--dataset", dataset, *short, "--json")
    origin = {row["setting"]: row["origin"] for row in shown.rows if "setting" in row}
    assert origin["dataset"] == "--dataset" and origin["seed"] == "--set"
    assert origin["eval_batch_size"] == "FKI_EVAL_BATCH_SIZE"
    assert origin["method"].startswith("t5_recadam.toml:")
    assert origin["num_beams"].startswith("t5.toml:") or origin["num_beams"] == "default"
    assert shown.rows[-1]["plan"]["steps"] == 1


def test_a_plan_starts_nothing(fki: Fki, dataset: Path, short: list[str], tmp_path: Path) -> None:
    def there() -> list[Path]:
        """All files but what can be made again: ids of texts, the stream as it was cut."""
        return sorted(f for f in tmp_path.rglob("*") if tmp_path / "home" not in (f, *f.parents))

    before = there()
    shown = fki("plan", "--dataset", dataset, "--output-dir", "run", *short)
    assert shown.code == 0 and "no run was started" in shown.words
    assert "optimizer steps" in shown.out
    assert there() == before


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--preset", "t5_vanilla"), "trainable; runs in each epoch"),
        (("--preset", "t5_kadapter_2"), "frozen; outputs cached on disk once per period"),
        (("--preset", "t5_prioritized"), "frozen; outputs cached on disk once per question"),
        (("--preset", "t5_kadapter_2", "--set=encoder_cache=off"), "frozen; runs in each epoch"),
    ],
)
def test_a_plan_shows_the_use_of_the_encoder(
    fki: Fki, dataset: Path, more: tuple[str, ...], says: str
) -> None:
    shown = fki("plan", "--dataset", dataset, "--model", "t5-mini", *more)
    assert shown.code == 0 and says in " ".join(shown.out.split())


def test_a_plan_describes_each_setting(fki: Fki, dataset: Path, short: list[str]) -> None:
    options = ("--preset", "t5_lora", "--dataset", dataset, *short, "--describe")
    rows = [row for row in fki("plan", *options, "--json").rows if "setting" in row]
    told = {row["setting"]: row["description"] for row in rows}
    assert all(told.values()) and {"lora.r", "budget.steps", "learning_rate"} <= {*told}
    assert told["dataset"] == "Dataset: a known name or a folder."
    shown = " ".join(fki("plan", *options).out.split())
    assert "lora.r = " in shown
    assert "Dataset: a known name or a folder." in shown


def test_a_sweep_or_a_preset_is_not_described(fki: Fki, dataset: Path) -> None:
    shown = fki("plan", "--to-toml", "--describe")
    assert shown.code == 2 and "leave --describe out" in shown.words
    shown = fki("plan", "--methods", "vanilla,lora", "--dataset", dataset, "--describe")
    assert shown.code == 2 and "--describe prints the settings of a single run" in shown.words
