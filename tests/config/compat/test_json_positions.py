"""The keys of a JSON object with their lines."""

from pathlib import Path

import pytest

from fki.config.compat.json_positions import read_members
from fki.core.errors import ConfigError


def test_each_key_has_the_line_that_it_is_on(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('\ufeff{ "a" :1,\n\n"b": {"c": [1,\n2]}, "a": "x\\n"\n}', encoding="utf-8")
    found = [(m.name, m.value, m.line) for m in read_members(file)]
    assert found == [("a", 1, 1), ("b", {"c": [1, 2]}, 3), ("a", "x\n", 4)]


def test_an_empty_object_has_no_keys(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(" { } ", encoding="utf-8")
    assert read_members(file) == []


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ('{"a": 1,\n "b" 2}', ":2:6: "),
        ("", ":1:1: "),
        ("[1]", "a list"),
        ('"a"', "text"),
        ("null", "null"),
        ("3", "one value"),
        ("[" * 100_000, "nested"),
        ('{"a": "\\ud800"}', "surrogates"),
    ],
)
def test_other_content_is_an_error_with_its_position(tmp_path: Path, text: str, fact: str) -> None:
    file = tmp_path / "a.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read_members(file)
    assert str(file) in str(caught.value) and fact in str(caught.value)


def test_a_file_that_is_missing_or_not_text_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'{"a": "\xff"}')
    for name in ("a.json", "b.json"):
        with pytest.raises(ConfigError, match=name):
            read_members(tmp_path / name)
