"""An answer counts as listed and as the tokenizer reads it back; an unspellable one never does."""

import json
from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from fki.core.paths import asset_folder
from fki.data.collator import ExampleTokenizer
from fki.metrics.answers import accuracy
from fki.modeling.accepted_answers import AcceptedAnswers


@pytest.mark.parametrize(
    ("listed", "read"),
    [
        ("½ cup", "1⁄2 cup"),
        ("a  b", "a b"),
        ("x\u00a0y", "x y"),
        ("ﬁne", "fine"),
        ("Zoe\u0308", "Zoë"),
    ],
)
def test_an_answer_that_the_tokenizer_normalizes_can_be_accurate(
    tokenizer: PreTrainedTokenizerBase, listed: str, read: str
) -> None:
    accepted = AcceptedAnswers(ExampleTokenizer(tokenizer, 64, 32)).accept([listed])
    assert accepted == [listed, read]
    assert accuracy(read, accepted) == 1 and accuracy(f"{read} s", accepted) == 0


def test_an_ordinary_answer_has_one_form(tokenizer: PreTrainedTokenizerBase) -> None:
    answers = ["Ada Pell", "東京", "1.10.2"]
    for prompt_format in ("sentinel", "prefix"):
        encoder = ExampleTokenizer(tokenizer, 64, 32, prompt_format=prompt_format)
        assert AcceptedAnswers(encoder).accept(answers) == answers


def test_an_answer_with_an_unknown_character_is_never_right(tmp_path: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((Path(asset_folder("t5-mini")) / name).read_bytes())
    values = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    values["model"]["byte_fallback"] = False
    (tmp_path / "tokenizer.json").write_text(json.dumps(values), encoding="utf-8")
    encoder = ExampleTokenizer(AutoTokenizer.from_pretrained(tmp_path), 64, 32)
    accepted = AcceptedAnswers(encoder)
    assert accepted.accept(["東京"]) == []
    assert accepted.accept(["東京", "Tokyo"]) == ["Tokyo"]
