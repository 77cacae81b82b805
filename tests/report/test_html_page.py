"""One run has a page of its own; several are compared."""

from pathlib import Path

from fki.comparison.compare import compare
from fki.report.html_page import write_page, write_run_page
from fki.testing.toy_runs import write_run


def test_a_page_is_written_beside_the_run_and_for_several_runs_it_compares(tmp_path: Path) -> None:
    one = write_run(tmp_path / "a-s0", "vanilla", 0)
    write_run_page(one)
    assert "fki run" in (one / "report.html").read_text(encoding="utf-8")
    write_run(tmp_path / "a-s1", "vanilla", 1)
    write_page(compare([tmp_path]), tmp_path / "both.html")
    assert "fki compare" in (tmp_path / "both.html").read_text(encoding="utf-8")
