"""Adds the edits of a benchmark of knowledge editing: edits, previous answers and their probes.

The old answer of an edit is a base fact, so that its probe is `updated`. The dataset is learned
together in most versions, so edits that contradict each other are skipped (`consistent_edits`).

The probes of an edit have its case and its subject. A paraphrase has the old answers as
distractors, a neighbor the new one: success compares their likelihoods (Meng et al., 2022).
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from fki.core.calendar import day_before
from fki.core.probe_sets import CONDITION
from fki.sources.benchmarks.base import BenchmarkCollector
from fki.sources.benchmarks.consistent_edits import (
    Edit,
    Test,
    distinct_edits,
    fold_text,
    select_edits,
    select_kept,
    select_rewordings,
)

RULE = (
    "Learned together, edits can contradict each other. An edit is skipped if an earlier edit has "
    "another target for the same prompt, or for {fact}. A probe is skipped if a kept edit changes "
    "its answer."
)
INFERRED = ("portability", "multi_hop")


def case_name(row: Mapping[str, Any], number: int | None = None) -> str:
    """The `case_id` of a row; without one, its number in its file."""
    case = row.get("case_id", number)
    return str(case) if isinstance(case, int | str) else ""


def usable_edits(collector: BenchmarkCollector, edit: Edit) -> Iterator[Edit]:
    """The edit, if it has a prompt and a target and changes an answer; any other is counted."""
    if not collector.check_prompt("stream", edit.prompt, edit.target):
        return
    if fold_text(edit.target) in map(fold_text, edit.old):
        collector.drop("stream", "the new answer is the old one")
    else:
        yield edit


def add_edits(
    collector: BenchmarkCollector,
    edits: Sequence[Edit],
    kept_set: str,
    templates: Mapping[str, Collection[str]] | None = None,
) -> None:
    """Add the edits that can be learned together, their previous answers and their probes.

    Args:
        kept_set: the probe set of the questions that an edit must not change.
        templates: the prompts of a relation, with {} for the subject.
    """
    dropped = collector.dropped
    selected = select_edits(edits, dropped)
    for edit in distinct_edits(selected, dropped):
        day, labels = edit.date or collector.date, _labels(edit)
        for answer in edit.old[:1]:
            before = day_before(day)
            collector.add_prompt("base", edit.prompt, answer, date=before, **labels)
        aliases = {"aliases": [*edit.aliases]} if edit.aliases else {}
        collector.add_prompt("stream", edit.prompt, edit.target, date=day, **aliases, **labels)
    for set_name, edit, question in select_rewordings(selected, dropped):
        answers = [edit.target, *edit.aliases]
        _add_probe(collector, set_name, edit, question, answers, edit.old)
    same_facts = [
        template.replace("{}", edit.subject)
        for edit in selected
        for template in (templates or {}).get(edit.relation, ())
    ]
    reason = f"probes/{kept_set}: an edit changes its answer"
    for edit, question, right in select_kept(selected, same_facts, reason, dropped):
        _add_probe(collector, kept_set, edit, question, right, [edit.target], is_kept=True)
    _add_inferred(collector, edits, selected)
    if collector.tables["base"]:
        collector.notes.append(
            "Base facts are the answers before the edits, dated the day before them."
        )


def _add_inferred(
    collector: BenchmarkCollector, edits: Sequence[Edit], selected: Sequence[Edit]
) -> None:
    """Add the probes whose answers follow from the edits of a case, if all of them are taught."""
    missing = Counter(edit.case for edit in edits) - Counter(edit.case for edit in selected)
    for edit in selected:
        for name in INFERRED:
            for question, answers, kind in getattr(edit, name):
                if missing[edit.case]:
                    collector.drop(f"probes/{name}", "it follows from an edit that is skipped")
                else:
                    more = {"relation": kind} if kind else {}
                    _add_probe(collector, name, edit, question, answers, (), **more)


def _add_probe(
    collector: BenchmarkCollector,
    name: str,
    edit: Edit,
    question: str,
    answers: Sequence[str],
    distractors: Sequence[str],
    *,
    is_kept: bool = False,
    **more: Any,
) -> None:
    """Add a probe of an edit; a wrong answer that is also right is no distractor."""
    right = {*map(fold_text, answers)}
    wrong = [text for text in distractors if fold_text(text) not in right]
    extra: dict[str, Any] = {"distractors": wrong} if wrong else {}
    extra |= {} if is_kept else {"period": edit.date or collector.date}
    if test := edit.tests.get((name, question)):
        extra |= _add_conditions(collector, edit, test)
    collector.add_prompt(f"probes/{name}", question, answers, **{**extra, **_labels(edit), **more})


def _add_conditions(collector: BenchmarkCollector, edit: Edit, test: Test) -> dict[str, Any]:
    """Add the conditions of a test as probes. Returns the columns of its questions.

    A condition without an answer is met, as in the code of RippleEdits.
    """
    labels = {name: text for name, text in _labels(edit).items() if name != "relation"}
    asked = []
    for question, answers, _ in test.conditions:
        key = edit.case, question
        is_valid = key in collector.conditions or collector.add_prompt(
            f"probes/{CONDITION}", question, answers, **labels
        )
        if is_valid:
            collector.conditions.add(key)
            asked.append(question)
    return (
        {"test": test.name}
        | ({"test_rule": "all"} if test.needs_all else {})
        | ({"conditions": asked} if asked else {})
    )


def _labels(edit: Edit) -> dict[str, str]:
    """The columns that name the edit of a row; `fki compare` resamples by `subject`."""
    labels = {"subject": edit.subject, "relation": edit.relation, "case_id": edit.case}
    return {name: text for name, text in labels.items() if text}
