"""Pages about runs are new files, and a run leaves one in its folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

Fki = Callable[..., Any]


def test_no_page_is_written_over_a_file(fki: Fki, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("mine", encoding="utf-8")
    for command in (["compare", trained], ["eval", trained]):
        shown = fki(*command, "--html", "page.html")
        assert shown.code == 1 and "already exists" in shown.words
        assert not shown.out
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == "mine"
    shown = fki("compare", trained, "--html", "nowhere/page.html")
    assert shown.code == 1 and "Folder nowhere" in shown.words


def test_a_run_leaves_its_report(trained: Path) -> None:
    text = (trained / "report.html").read_text(encoding="utf-8")
    assert "fki run" in text and "mine, version quarter: 1 period" in text
    assert "What did it learn, and what did it forget?" in text


def test_eval_writes_a_page_about_a_run_only(fki: Fki, trained: Path, tmp_path: Path) -> None:
    shown = fki("eval", trained, "--html", "page.html")
    assert shown.code == 0 and "page.html" in shown.words
    assert (tmp_path / "page.html").exists()
    refused = fki("eval", "t5-mini", "--html", "other.html")
    assert refused.code == 2 and "--html needs a run" in refused.words
