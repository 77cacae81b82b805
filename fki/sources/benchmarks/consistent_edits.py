"""Edits that can be learned together: the choice among edits that contradict each other.

Benchmarks of knowledge editing apply one edit, evaluate it and undo it. A stream applies all of
them. An earlier edit therefore takes precedence over a later edit with another target for the same
prompt or fact, and no probe may require an answer that a kept edit changes.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from fki.core.normalization import normalize_text

CONTRADICTS = "stream: an edit that contradicts an earlier edit"
SAME_EDIT = "stream: a duplicate"
IS_A_PROMPT = "probes/paraphrase: itself the prompt of an edit"
AMBIGUOUS = "probes/paraphrase: reworded from edits with different targets"

PARAPHRASE = "paraphrase"


class Inferred(NamedTuple):
    """A question whose answer follows from an edit."""

    question: str
    answers: tuple[str, ...]
    kind: str = ""  # of the inference


class Test(NamedTuple):
    """What a question of a test counts with."""

    name: str
    needs_all: bool  # do all questions of the test have to be answered?
    conditions: tuple[Inferred, ...]  # that the model answers before the edit


@dataclass(frozen=True, slots=True)
class Edit:
    """An edit of a benchmark, with its own probes."""

    prompt: str
    target: str
    old: tuple[str, ...]  # the answers before it
    subject: str = ""
    relation: str = ""
    case: str = ""  # its number in the benchmark
    fact: tuple[str, ...] = ()  # two edits of one fact with different targets contradict
    rewordings: tuple[str, ...] = ()  # their answer is the target
    kept: tuple[tuple[str, ...], ...] = ()  # (question, its answers ...) that it must not change
    aliases: tuple[str, ...] = ()  # further correct answers, never trained on
    other_rewordings: tuple[tuple[str, str], ...] = ()  # (probe set, question)
    portability: tuple[Inferred, ...] = ()  # what follows from it
    multi_hop: tuple[Inferred, ...] = ()  # what follows from it and other facts
    date: str = ""  # "": that of the dataset
    tests: Mapping[tuple[str, str], Test] = field(default_factory=dict)
    """By probe set and question."""


def fold_text(text: str) -> str:
    """The form in which two texts are compared: NFKC, case and white space do not matter."""
    return normalize_text(text).casefold()


def select_edits(edits: Iterable[Edit], dropped: Counter[str]) -> list[Edit]:
    """The edits without those that contradict an earlier one of them, in their order.

    Args:
        dropped: counts the skipped edits.
    """
    targets: dict[tuple[str, ...], str] = {}
    selected = []
    for edit in edits:
        keys = _keys(edit)
        target = fold_text(edit.target)
        if any(targets.get(key, target) != target for key in keys):
            dropped[CONTRADICTS] += 1
            continue
        targets |= dict.fromkeys(keys, target)
        selected.append(edit)
    return selected


def _keys(edit: Edit) -> list[tuple[str, ...]]:
    """What an edit decides on its date: its prompt and its fact."""
    keys: list[tuple[str, ...]] = [("prompt", edit.date, fold_text(edit.prompt))]
    return [*keys, ("fact", edit.date, *map(fold_text, edit.fact))] if edit.fact else keys


def distinct_edits(edits: Iterable[Edit], dropped: Counter[str]) -> Iterator[Edit]:
    """The first edit of each prompt and date; the others, which have the same target, are
    counted."""
    seen: set[tuple[str, str]] = set()
    for edit in edits:
        if (key := (edit.date, fold_text(edit.prompt))) in seen:
            dropped[SAME_EDIT] += 1
            continue
        seen.add(key)
        yield edit


def _rewordings(edit: Edit) -> Iterator[tuple[str, str]]:
    """The probe set and the question of each rewording, each question once."""
    yield from ((PARAPHRASE, question) for question in dict.fromkeys(edit.rewordings))
    yield from ((n, q) for n, q in dict.fromkeys(edit.other_rewordings) if q not in edit.rewordings)


def select_rewordings(
    edits: Iterable[Edit], dropped: Counter[str]
) -> Iterator[tuple[str, Edit, str]]:
    """Each reworded question that is never trained on and that has one target, with its probe set
    and its edit."""
    edits = [*edits]
    prompts = {fold_text(edit.prompt) for edit in edits}
    targets: dict[tuple[str, str], set[str]] = defaultdict(set)
    for edit in edits:
        for _, question in _rewordings(edit):
            targets[edit.date, fold_text(question)].add(fold_text(edit.target))
    for edit in edits:
        for name, question in _rewordings(edit):
            folded = fold_text(question)
            if folded == fold_text(edit.prompt):
                continue  # the edit's own prompt
            if folded in prompts:
                dropped[IS_A_PROMPT] += 1
            elif len(targets[edit.date, folded]) > 1:
                dropped[AMBIGUOUS] += 1
            else:
                yield name, edit, question


def select_kept(
    edits: Iterable[Edit], same_facts: Iterable[str], reason: str, dropped: Counter[str]
) -> Iterator[tuple[Edit, str, tuple[str, ...]]]:
    """Each question that no edit changes, with its edit and its answers.

    Args:
        same_facts: further questions about the facts of the edits.
        reason: of the skipped questions, for `dropped`.
    """
    edits = [*edits]
    changed = {fold_text(question) for question in same_facts}
    for edit in edits:
        changed |= {fold_text(edit.prompt), *(fold_text(q) for _, q in _rewordings(edit))}
    for edit in edits:
        for question, *answers in edit.kept:
            if fold_text(question) in changed:
                dropped[reason] += 1
            else:
                yield edit, question, tuple(answers)
