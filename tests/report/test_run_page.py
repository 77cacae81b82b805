"""The page of one run: its facts, what it learned and forgot, answers, and the next command."""

import json
import re
from base64 import b64decode
from pathlib import Path

import pytest

from fki.comparison.compare import compare
from fki.core.formatting import format_number
from fki.report.html_page import render_page
from fki.testing.toy_runs import write_run
from tests.support.html_page import Page

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "mine", "vanilla", 3, replay="none")


@pytest.fixture(scope="module")
def text(run: Path) -> str:
    return render_page(compare([run]))


def test_a_single_run_has_a_page_of_its_own(text: str, run: Path) -> None:
    found = Page(text)
    assert "fki run" in found.text and "mine" in found.text
    facts = re.sub(r"\s+", " ", found.text)
    for fact in ("date2026-01-04", "methodvanilla", "t5-toy, 1 k of 1 k parameters trained"):
        assert fact in facts
    assert "toy, version quarter: 3 periods, 2024-Q1 to 2024-Q3" in facts
    assert "seed3" in facts and "devicecpu" in facts and "0:13" not in facts and "13 s" in facts


def test_the_answers_to_the_questions_have_figures_with_intervals(text: str, run: Path) -> None:
    [group] = compare([run]).groups
    [arm] = group.arms
    found = Page(text).text
    learned = arm.estimate("updated.learned")
    ends = f"{format_number(learned.low)} to {format_number(learned.high)}"
    assert f"{format_number(learned.value)}% ({ends}) of updated" in found
    assert "earlier periods gained" in found and "One run cannot show" in found


def test_right_answers_are_marked(text: str) -> None:
    tables = [t for t in Page(text).tables if t[0][0] == "question"]
    counts = {len(table) - 1 for table in tables}
    assert len(tables) == 4 and counts == {5}  # twenty answers
    learned, forgotten, never, kept = (
        [[cell.startswith("✓") for cell in row[2:5]] for row in table[1:]] for table in tables
    )
    assert all(row[2] and not row[0] for row in learned)
    assert any(any(row) for row in forgotten) and not any(row[2] for row in forgotten)
    assert not any(any(row) for row in never)
    assert all(row[0] and row[2] for row in kept)


def test_each_probe_set_has_three_moments(text: str, run: Path) -> None:
    [group] = compare([run], everything=True).groups
    [arm] = group.arms
    found = Page(text)
    for name in ("updated", "new"):
        cells = found.row(0, name)
        values = [arm.estimate(key).value for key in (f"{name}.before", f"{name}.learned", name)]
        assert [cell.split()[0] for cell in cells[2:5]] == [format_number(v) for v in values]
    assert found.row(0, "invariant")[3] == "-"


def test_the_parts_are_in_the_contents(text: str) -> None:
    found = Page(text)
    ids = {a["id"] for _, a in found.tags if "id" in a}
    links = [str(a["href"])[1:] for tag, a in found.tags if tag == "a" and "download" not in a]
    assert set(links) <= ids
    assert {"results", "scores", "stream", "answers", "periods", "relations", "next"} <= set(links)


def test_the_next_commands_are_there(text: str, run: Path) -> None:
    assert "--set replay=prioritized" in text and f"fki compare {run.parent}" in text


def test_the_data_can_be_saved(text: str) -> None:
    files = {a["download"]: a["href"] for _, a in Page(text).tags if "download" in a}
    assert set(files) == {"mine.csv", "mine.json"}
    whole = json.loads(b64decode(str(files["mine.json"]).partition("base64,")[2]))
    assert whole["run"]["status"] == "done" and whole["details"]["counts"]
    rows = b64decode(str(files["mine.csv"]).partition("base64,")[2]).decode().splitlines()
    assert rows[0] == "kind,probe_set,name,probes,before,learned,after"
    assert any(row.startswith("period,updated,2024-Q1,12,") for row in rows)


def test_texts_of_a_run_stay_text(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    for name in ("samples.jsonl", "probes.jsonl"):
        lines = (run / name).read_text().replace('"x"', json.dumps(HOSTILE))
        (run / name).write_text(lines.replace(" is ___", f" {HOSTILE} ___"))
    page = render_page(compare([run]))
    assert page.count("<script") == 1 and Page(page).text.count(HOSTILE) > 10


def test_a_run_without_readable_answers_has_a_page_all_the_same(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    comparison = compare([run])
    (run / "probes.jsonl").write_text("{}\n")
    assert "Single answers are missing" in Page(render_page(comparison)).text
