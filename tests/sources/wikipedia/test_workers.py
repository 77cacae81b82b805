"""Pages are cleaned in processes of their own; one that takes too much takes no other with it."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("wikitextparser")
from fki.sources.wikipedia.workers import PageJob, PageLimits, PageResult, PageWorkers, clean_page

GOOD = "Avalon is a bridge over the river Quill."
MANY = "<div>" * 40_000 + "</div>" * 40_000  # nested tags take memory
SLOW = "[[File:a.jpg|" * 5_000 + "]]" * 5_000  # nested links take time


def test_a_worker_returns_the_same_as_this_process() -> None:
    jobs = [PageJob(n, f"{GOOD}\n\nIt is {n} m long now.", GOOD) for n in range(20)]
    with PageWorkers(2) as workers:
        results = sorted(workers.map(jobs))
    assert results == [clean_page(job) for job in jobs]
    assert results[3] == PageResult(3, ["It is 3 m long now."], [GOOD])


def test_an_unchanged_page_and_a_new_one_are_cleaned_alone() -> None:
    assert clean_page(PageJob(1, GOOD, None)) == PageResult(1, [], [GOOD])
    assert clean_page(PageJob(1, GOOD, "")) == PageResult(1, [GOOD], [])


@pytest.mark.parametrize(
    ("wikitext", "limits", "fault"),
    [
        (SLOW, PageLimits(seconds=0.5), "more than 0.5 s of CPU time"),
        (MANY, PageLimits(seconds=60, mebibytes=256), "more than 256 MiB of memory"),
    ],
    ids=["time", "memory"],
)
def test_a_page_beyond_a_limit_fails_and_the_others_do_not(
    wikitext: str, limits: PageLimits, fault: str
) -> None:
    jobs = [PageJob(1, GOOD, ""), PageJob(2, wikitext, ""), PageJob(3, GOOD, "")]
    with PageWorkers(1, limits) as workers:
        results = {done.page_id: done for done in workers.map(jobs)}
    assert results[2] == PageResult(2, [], [], fault)
    assert results[1].new == results[3].new == [GOOD]


def test_an_exception_in_the_parser_fails_its_page_only() -> None:
    with PageWorkers(1) as workers:
        no_text: Any = 7
        first, second = workers.map([PageJob(1, no_text, ""), PageJob(2, GOOD, "")])
    assert first.fault == "AttributeError in the parser"
    assert second.new == [GOOD]


def test_no_worker_outlives_its_pool_even_after_an_error() -> None:
    def jobs() -> Iterator[PageJob]:
        yield PageJob(1, GOOD, "")
        yield PageJob(2, SLOW, "")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), PageWorkers(2, PageLimits(seconds=600)) as workers:
        for _ in workers.map(jobs()):
            pass
    assert workers.busy
    for process in [*workers.idle, *workers.busy]:
        assert process.returncode == -signal.SIGKILL
        with pytest.raises(ProcessLookupError):
            os.kill(process.pid, 0)


def test_a_module_in_the_working_folder_does_not_shadow_the_library() -> None:
    with open("json.py", "w", encoding="utf-8") as file:
        file.write("raise SystemExit")
    with PageWorkers(1) as workers:
        assert [done.new for done in workers.map([PageJob(1, GOOD, "")])] == [[GOOD]]
