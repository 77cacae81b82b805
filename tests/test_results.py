"""Results print as tables, escape what they show, and give their values by name."""

import sys
from pathlib import Path

import pytest

import fki
from fki.report.tables import Table
from fki.results import to_html, to_text
from fki.testing.toy_runs import write_run


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of four runs, made of answers alone."""
    folder = tmp_path_factory.mktemp("compared") / "runs"
    for seed in (0, 1):
        write_run(folder / f"vanilla-{seed}", "vanilla", seed)
        write_run(folder / f"lora-{seed}", "lora", seed, {"updated": (0.1, 0.8, 0.8, 0.9)})
    return folder


def test_a_comparison_has_arms_with_intervals_and_differences(compared: Path) -> None:
    result = fki.compare([compared / "vanilla-0", compared / "lora-0", compared / "lora-1"])
    assert {arm.name: arm.seeds for arm in result.arms} == {"vanilla": (0,), "lora": (0, 1)}
    estimate, difference = result.estimate("lora", "updated"), result.difference("lora", "updated")
    assert estimate.value is not None and estimate.low is not None and estimate.high is not None
    assert estimate.low < estimate.value < estimate.high
    assert difference is not None and difference.value is not None and difference.value > 0
    assert result.difference("vanilla", "updated") is None
    with pytest.raises(fki.ConfigError, match="lora"):
        result.estimate("lara", "updated")


def test_a_comparison_becomes_a_table_of_pandas_and_a_page(compared: Path, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    result = fki.compare(compared)
    table = result.to_pandas()
    assert isinstance(table, pandas.DataFrame) and set(table["arm"]) == {"vanilla", "lora"}
    value = table[(table["arm"] == "lora") & (table["metric"] == "updated")]["value"].item()
    exact = result.estimate("lora", "updated").value
    assert value == pytest.approx(exact, abs=5e-5)  # four decimals, as in `to_csv`
    assert "lora" in result.write_html(tmp_path / "page.html").read_text(encoding="utf-8")


def test_pandas_is_asked_for_by_name_where_it_is_missing(
    compared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(fki.ConfigError) as caught:
        fki.compare(compared).to_pandas()
    assert caught.value.hint == f"Run: {sys.executable} -m pip install pandas"


def test_the_html_of_a_comparison_escapes_the_names_of_its_arms(tmp_path: Path) -> None:
    for name in ("vanilla", "<script>"):
        write_run(tmp_path / f"run-{len(name)}", name)
    html = fki.compare(tmp_path)._repr_html_()
    assert "&lt;script&gt;" in html and "<script" not in html


def test_a_table_is_aligned_as_text_and_escaped_as_html() -> None:
    table = Table.plain("A & B", ("name", "value"), [("<b>x</b>", "1"), ("y", "10")], "lr")
    assert to_text(table).splitlines() == [
        "A & B",
        "name      value",
        "<b>x</b>      1",
        "y            10",
    ]
    html = to_html(table)
    assert "<b>" not in html and "&lt;b&gt;x&lt;/b&gt;" in html and "A &amp; B" in html
