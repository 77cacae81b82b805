"""Paraphrases of single facts are checked, and taught after the wordings of their relation."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fki.core.errors import DataError
from fki.core.types import Fact, PromptFormat, Stream
from fki.data import paraphrases
from fki.data.dataset_folder import folder_digest, read_folder
from fki.data.paraphrases import _contains_word
from fki.data.row_files import RowProblems

WORDINGS = ["[X] is led by [Y].", "[Y] leads [X].", "[X] obeys [Y].", "[Y] rules [X]."]
STREAM = [
    {"subject": "Iceland", "relation": "head", "object": "Ada", "start": "2024-01-05"},
    {"subject": "Iceland", "relation": "head", "object": "Bo", "start": "2024-03-05"},
    {"subject": "New Oz", "relation": "head", "object": ["Oz", "Y"], "start": "2024-01-05"},
    {"prompt": "Who is king?", "target": "Cy", "date": "2024-01-05"},
    {"prompt": "It is <extra_id_0>.", "target": "Di", "date": "2024-01-05", "subject": "Rome"},
]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """A function of paraphrase rows: a dataset folder with them."""

    def make(*rows: dict[str, Any], name: str = "paraphrases.jsonl", **files: Any) -> Path:
        folder = tmp_path / "mine"
        folder.mkdir(exist_ok=True)
        lines = {"stream.jsonl": STREAM, **({name: rows} if rows else {}), **files}
        for file, found in lines.items():
            (folder / file).parent.mkdir(exist_ok=True)
            text = "".join(json.dumps(row) + "\n" for row in found)
            (folder / file).write_text(text, encoding="utf-8")
        table = {"head": {"wordings": WORDINGS}}
        (folder / "relations.json").write_text(json.dumps(table), encoding="utf-8")
        return folder

    return make


def read(folder: Path, wordings: int = 9, prompt: PromptFormat = "sentinel") -> Stream:
    return read_folder(folder, "month", prompt, name="mine", wordings=wordings)


def sources(stream: Stream) -> dict[str, set[tuple[str, ...]]]:
    """The sources of the training examples by subject."""
    found: dict[str, set[tuple[str, ...]]] = {}
    for period in stream.periods:
        for fact in period.facts:
            ids = [f"{period.name}|{fact.id}|0.{o}" for o in range(len(fact.objects))]
            texts = {e.sources for e in period.examples if e.id in ids}
            found.setdefault(fact.subject, set()).update(texts)
    return found


ROWS = [
    {"subject": "Iceland", "relation": "head", "wordings": ["ICELAND heeds [Y]."]},
    {"subject": "Iceland ", "relation": "head", "wordings": "[X] has <extra_id_0> on top."},
    {"prompt": "Who is king?", "wordings": ["King is <extra_id_0>.", "[Y] reigns."]},
    {"prompt": "It is <extra_id_0>.", "wordings": ["Rome: <extra_id_0>"]},
    {"subject": "Nowhere", "relation": "head", "wordings": ["Nowhere has [Y]."]},
]
TAUGHT = {
    "Iceland": (
        "Iceland is led by ___.",
        "___ rules Iceland.",
        "ICELAND heeds ___.",
        "Iceland has ___ on top.",
    ),
    "New Oz": ("New Oz is led by ___.", "___ rules New Oz."),
    "Who is king?": ("Who is king? ___", "King is ___.", "___ reigns."),
    "Rome": ("It is ___.", "Rome: ___"),
}


@pytest.mark.parametrize("wordings", [1, 2, 3, 9])
def test_paraphrases_are_taught_after_the_wordings_of_the_relation(
    wordings: int, write: Callable[..., Path]
) -> None:
    stream = read(write(*ROWS), wordings)
    assert sources(stream) == {name: {texts[:wordings]} for name, texts in TAUGHT.items()}
    assert stream.wordings == {2: 2, 3: 1, 4: 2}
    (note,) = stream.notes
    assert "1 of 5 rows of paraphrases.jsonl" in note
    again = read(write(*ROWS), wordings)  # of the stored stream
    assert (again.wordings, again.notes) == (stream.wordings, stream.notes)
    assert sources(again) == sources(stream)


def test_probes_and_facts_are_the_same_with_paraphrases(write: Callable[..., Path]) -> None:
    before = read(write())
    after = read(write(*ROWS))
    assert [s.probes for s in before.probe_sets] == [s.probes for s in after.probe_sets]
    assert (before.wordings, before.notes) == ({1: 2, 2: 3}, ())
    assert before.digest != after.digest
    plain, taught = ([f for p in s.periods for f in p.facts] for s in (before, after))
    assert [(f.key, f.objects, f.wordings) for f in plain] == [
        (f.key, f.objects, f.wordings) for f in taught
    ]


def test_the_digest_covers_the_file(write: Callable[..., Path]) -> None:
    digests = {folder_digest(write(row)) for row in ROWS} | {folder_digest(write(*ROWS))}
    assert len(digests) == len(ROWS) + 1


def iceland(*wordings: Any) -> dict[str, Any]:
    return {"subject": "Iceland", "relation": "head", "wordings": [*wordings]}


FAULTS = [
    (iceland("Iceland has no blank."), "once, not 0 times"),
    (iceland("[Y] and [Y] lead Iceland."), "once, not 2 times"),
    (iceland("[Y] or <extra_id_0>: Iceland."), "once, not 2 times"),
    (iceland("<extra_id_1> leads Iceland."), "<extra_id_1>"),
    (iceland("[Y] leads it."), "does not mention the subject, 'Iceland'"),
    (iceland("Icelandic: [Y]."), "does not mention the subject, 'Iceland'"),
    (iceland("Iceland is led by Ada, or [Y]."), "contains the answer, 'Ada'"),
    (iceland("Iceland is led by bo, or [Y]."), "contains the answer, 'Bo'"),
    (iceland("[Y]  leads iceland."), "never trained on"),
    (iceland("[X] obeys [Y]."), "never trained on"),
    (iceland("So said [Y] of Iceland."), "never trained on"),
    (iceland("Bell\x07 [Y] Iceland."), "control character"),
    (iceland(), "'wordings' must be"),
    (iceland(3), "'wordings' must be"),
    (iceland(" "), "'wordings' must be"),
    ({"subject": "Iceland", "relation": "head"}, "'wordings' must be"),
    ({"subject": "Iceland", "wordings": ["Iceland [Y]"]}, "'relation' is missing"),
    ({"relation": "head", "wordings": ["Iceland [Y]"]}, "'subject' is missing"),
    ({"prompt": "Who is king?", "wordings": ["[X] is king: [Y]"]}, r"\[X\]"),
    ({"prompt": "Who is king?", "wordings": ["[Y]."]}, "blank alone"),
    ({"prompt": "It is <extra_id_0>.", "wordings": ["Here: [Y]"]}, "the subject, 'Rome'"),
    ({"prompt": "Who is king?", "wordings": ["Cy is king: [Y]"]}, "the answer, 'Cy'"),
    ({"subject": "New Oz", "relation": "head", "wordings": ["Oz, New Oz: [Y]"]}, "answer, 'Oz'"),
]


@pytest.mark.parametrize(("row", "fault"), FAULTS, ids=str)
def test_a_faulty_row_is_an_error_with_file_and_line(
    row: dict[str, Any], fault: str, write: Callable[..., Path]
) -> None:
    probes = {
        "probes/paraphrase_own.jsonl": [
            {"prompt": "So said <extra_id_0> of Iceland.", "target": "Ada"}
        ]
    }
    folder = write(ROWS[1], row, **probes)
    with pytest.raises(DataError, match=rf"paraphrases\.jsonl:2: .*{fault}") as caught:
        read(folder)
    assert "1 bad row in" in str(caught.value) and caught.value.exit_code == 3


@pytest.mark.parametrize(
    "row",
    [
        {"subject": "New Oz", "relation": "head", "wordings": ["New Oz bows to [Y]."]},
        {"subject": "New Oz", "relation": "head", "wordings": ["[X], the Ozone, bows to [Y]."]},
        iceland("Iceland, of bold Adam, bows to [Y]."),
        iceland("[X] is led by [Y]."),  # which is taught already
        {"prompt": "Who is king?", "wordings": ["Who but [Y] is king?"], "model": "any"},
    ],
    ids=str,
)
def test_an_answer_within_the_subject_or_a_longer_word_is_none(
    row: dict[str, Any], write: Callable[..., Path]
) -> None:
    assert read(write(row)).notes == ()


def test_a_wording_that_only_a_prefix_makes_equal_to_a_probe_is_refused_with_prefixes(
    write: Callable[..., Path],
) -> None:
    folder = write(iceland("Iceland obeys [Y] now."))
    read(folder)
    with pytest.raises(DataError, match="never trained on"):
        read(folder, prompt="prefix")


def test_a_csv_file_has_a_wording_a_row(write: Callable[..., Path]) -> None:
    folder = write()
    (folder / "paraphrases.csv").write_text(
        "subject,relation,wordings\nIceland,head,Iceland heeds [Y].\nIceland,head,[Y]: Iceland\n"
    )
    (texts,) = sources(read(folder))["Iceland"]
    assert texts[2:] == ("Iceland heeds ___.", "___: Iceland")


def test_a_fault_is_reported_once_however_many_facts_have_the_key(tmp_path: Path) -> None:
    file, problems = tmp_path / "paraphrases.jsonl", RowProblems()
    file.write_text(json.dumps(iceland("[Y] leads Iceland.")) + "\n")
    table = paraphrases.Paraphrases(file, "sentinel", (), problems)
    fact = Fact("Iceland", "head", ("Ada",), tuple(WORDINGS))
    assert table.add_to(fact).paraphrases == table.add_to(fact).paraphrases
    assert problems.count == 1


@pytest.mark.parametrize(
    ("text", "word", "is_there"),
    [
        ("russia, the rival of us", "us", True),
        ("russia, the rival", "us", False),
        ("us-led", "us", True),
        ("the u.s. leads", "u.s.", True),
        ("c++ is", "c++", True),
        ("日本の首都は東京です", "東京", True),
    ],
)
def test_a_word_is_no_part_of_a_longer_one(text: str, word: str, is_there: bool) -> None:
    assert _contains_word(text, word) is is_there
