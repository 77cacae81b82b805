"""Each figure is a file of its own, and no file is overwritten."""

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from fki.comparison.types import Comparison, Group
from fki.core.errors import FkiError
from fki.report.save_figures import save_figures
from fki.report.style import STAND_INS


def test_each_figure_is_saved_as_an_svg_of_its_own(comparison: Comparison, tmp_path: Path) -> None:
    files = save_figures(comparison, tmp_path / "new" / "figures")
    names = [
        "pareto",
        "cost",
        "forest",
        "curves",
        "matrix-vanilla",
        "matrix-lora-b",
        "matrix-recadam",
    ]
    assert [file.stem for file in files] == names
    for file in files:
        text = file.read_text(encoding="utf-8")
        root = ElementTree.fromstring(text)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root[0].text and root[0].text.startswith("wiki, 3 months")
        assert "var(" not in text and not any(s in text for s in STAND_INS.values())
        assert "<text" not in text


def test_a_figure_is_never_overwritten(comparison: Comparison, tmp_path: Path) -> None:
    (tmp_path / "curves.svg").write_text("mine")
    with pytest.raises(FkiError, match=r"curves\.svg already exists"):
        save_figures(comparison, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["curves.svg"]


def test_names_that_make_one_file_get_numbers(group: Group, tmp_path: Path) -> None:
    arms = tuple(replace(group.arms[0], name=name) for name in ("a/b", "a b", "../.."))
    files = save_figures(Comparison((replace(group, arms=arms), group), {}), tmp_path)
    assert {"1-matrix-a-b.svg", "1-matrix-a-b-2.svg"} <= {file.name for file in files}
    assert len({*files}) == len(files) and {file.parent for file in files} == {tmp_path}
