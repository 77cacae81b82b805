"""A text is tokenised once for ever, to the same ids, and nothing broken is ever read."""

import copy
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from fki.data import token_cache
from fki.data.token_cache import TokenCache
from fki.data.tokenization import make_tokenize
from fki.testing import toy_tokenizer

TEXTS = ["The mayor of Oz is <extra_id_0>.", "Ys", "", "é\u0301ñ 東京", "long " * 400, "Ys"]


class Counting:
    """The embedded tokenizer, and what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, texts: list[str]) -> list[list[int]]:
        self.asked += texts
        return make_tokenize(toy_tokenizer().tokenizer)(texts)


@pytest.fixture
def make(tmp_path: Path) -> Callable[[], TokenCache]:
    """A function that opens the same folder again, as a later process does."""
    return lambda: TokenCache(Counting(), tmp_path / "tokens")


def plain(texts: list[str]) -> list[list[int]]:
    """The ids of each text, asked for by itself."""
    return [toy_tokenizer().tokenizer(text, truncation=False).input_ids for text in texts]


def test_ids_are_the_tokenizers_own_fresh_from_memory_and_from_disk(make: Any) -> None:
    store = make()
    assert store.get_ids(TEXTS) == store.get_ids(TEXTS) == plain(TEXTS)
    store.flush()
    assert store.get_ids(TEXTS) == make().get_ids(TEXTS) == plain(TEXTS)
    assert make().get_ids([]) == []


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), max_size=20))
def test_any_texts_come_back_as_themselves(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("tokens")
    ids = lambda texts: [[*t.encode()] for t in texts]  # noqa: E731
    first = TokenCache(ids, folder)
    first.get_ids(texts[::2])
    first.flush()
    second = TokenCache(ids, folder)
    assert second.get_ids(texts) == ids(texts)
    assert second.get_lengths(texts).tolist() == [len(t.encode()) for t in texts]


def test_each_text_is_tokenised_once_in_all_processes_together(make: Any) -> None:
    first = make()
    first.get_ids(TEXTS)
    first.get_lengths(TEXTS)
    assert sorted(first.tokenize.asked) == sorted(set(TEXTS))
    first.flush()
    second = make()
    second.get_ids(TEXTS[::-1])
    second.get_lengths(TEXTS)
    assert second.tokenize.asked == []
    second.get_ids([*TEXTS, "new"])
    assert second.tokenize.asked == ["new"]


def test_sizes_are_known_without_reading_ids(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make()
    store.get_ids(TEXTS)
    store.flush()
    monkeypatch.setattr(token_cache.Segment, "at", None)
    assert store.get_lengths(TEXTS).tolist() == [len(ids) for ids in plain(TEXTS)]


def test_ids_beyond_16_bits_are_kept(tmp_path: Path) -> None:
    store = TokenCache(lambda texts: [[1, 2**16 + len(t)] for t in texts], tmp_path)
    store.get_ids(["a", "bb"])
    store.flush()
    assert TokenCache(lambda texts: [], tmp_path).get_ids(["bb", "a"]) == [[1, 65538], [1, 65537]]


def test_many_texts_do_not_stay_in_memory(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_cache, "MAX_PENDING", 10)
    store = make()
    texts = [f"text {i}" for i in range(25)]
    for start in range(0, 25, 5):
        store.get_ids(texts[start : start + 5])
        assert len(store.pending) <= 10
    assert store.get_ids(texts) == plain(texts)


@pytest.mark.parametrize(
    "harm",
    [
        lambda content: content[:-1],
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: content[:50] + bytes([content[50] ^ 1]) + content[51:],
        lambda content: b"x" * 200,
    ],
    ids=["one byte short", "half", "empty", "one bit", "something else"],
)
def test_a_file_that_is_not_whole_is_not_read(harm: Any, make: Any, tmp_path: Path) -> None:
    store = make()
    store.get_ids(TEXTS)
    store.flush()
    (file,) = (tmp_path / "tokens").glob("*.ids")
    file.write_bytes(harm(file.read_bytes()))
    again = make()
    assert again.get_ids(TEXTS) == plain(TEXTS)
    assert sorted(again.tokenize.asked) == sorted(set(TEXTS))
    again.flush()
    assert make().get_ids(TEXTS) == plain(TEXTS)


def test_a_folder_that_cannot_be_written_to_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = TokenCache(Counting(), tmp_path / "file" / "tokens")
    for _ in range(2):
        assert store.get_ids(TEXTS) == plain(TEXTS)
        store.flush()
    assert len(store.pending) == len(set(TEXTS))
    assert store.folder is None  # it is not tried again and again


def test_a_disk_that_is_full_is_done_without(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    store = make()
    monkeypatch.setattr(os, "fsync", full)
    store.get_ids(TEXTS)
    store.flush()
    assert store.get_ids(TEXTS) == plain(TEXTS)
    assert [*(tmp_path / "tokens").iterdir()] == []


def test_what_was_used_longest_ago_makes_room(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def texts(i: int) -> list[str]:
        return [f"text {i} of some length, so that it takes its room"]

    folder, names = tmp_path / "tokens", []
    for i in range(4):
        store = make()
        store.get_ids(texts(i))
        store.flush()
        (new,) = {f.name for f in folder.glob("*.ids")} - set(names)
        names.append(new)
        os.utime(folder / new, (i, i))
    make().get_ids(texts(0))  # used again; the others are only opened
    size = (folder / names[0]).stat().st_size
    monkeypatch.setattr(token_cache, "MAX_CACHE_BYTES", 3 * size + 20)
    last = make()
    last.get_ids(texts(4))
    last.flush()
    held = {f.name for f in folder.glob("*.ids")}
    assert names[0] in held and names[3] in held
    assert not {names[1], names[2]} & held


def test_what_a_killed_process_left_goes_after_a_day(make: Any, tmp_path: Path) -> None:
    (tmp_path / "tokens").mkdir()
    old, new = (tmp_path / "tokens" / name for name in (".old", ".new"))
    old.touch()
    new.touch()
    os.utime(old, (0, 0))
    store = make()
    store.get_ids(TEXTS)
    store.flush()
    assert new.exists() and not old.exists()


def test_two_processes_that_write_at_once_are_both_right(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\nfrom fki.data.token_cache import TokenCache\n"
        "s = TokenCache(lambda texts: [[len(t), 1] for t in texts], pathlib.Path(sys.argv[1]))\n"
        "for i in range(20):\n"
        "    s.get_ids([f'{i} {n}' for n in range(50)]); s.flush()\n"
    )
    both = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    texts = [f"{i} {n}" for i in range(20) for n in range(50)]
    reader = TokenCache(lambda texts: [], tmp_path)
    assert reader.get_ids(texts) == [[len(t), 1] for t in texts]
    assert not [f for f in tmp_path.iterdir() if f.name.startswith(".")]


def test_a_tokenizers_digest_is_of_what_decides_the_ids(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    before = token_cache.tokenizer_digest(tokenizer)
    assert before == token_cache.tokenizer_digest(tokenizer)
    tokenizer("text", truncation=True, max_length=3, padding="max_length")
    assert (
        token_cache.tokenizer_digest(tokenizer) == before
    )  # how the last call was cut decides nothing
    other = copy.deepcopy(tokenizer)
    other.add_tokens(["Ruritania"])
    assert token_cache.tokenizer_digest(other) != before
    splitting = copy.deepcopy(tokenizer)
    splitting.split_special_tokens = True
    splitting("text")
    assert token_cache.tokenizer_digest(splitting) != before
    assert token_cache.tokenizer_digest(object()) is None


def test_keys_are_of_the_whole_text() -> None:
    keys = token_cache.text_keys(["a", "b", "a"])
    assert keys.dtype == np.uint64 and keys.shape == (3, 2)
    assert (keys[0] == keys[2]).all() and (keys[0] != keys[1]).all()


def test_a_tokenizer_is_the_same_one_after_a_call_and_another_with_another_vocabulary() -> None:
    tokenizer = toy_tokenizer().tokenizer
    before = token_cache.tokenizer_identity(tokenizer)
    tokenizer(["one", "two"], truncation=True, max_length=3, padding="max_length")
    assert token_cache.tokenizer_identity(tokenizer) == before != ""
    other = copy.deepcopy(tokenizer)
    other.add_tokens(["Ruritania"])
    assert token_cache.tokenizer_identity(other) != before
    assert token_cache.tokenizer_identity(object()) == ""
