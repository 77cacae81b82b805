"""A folder at an address and its copy: what is uploaded, in which order, and what is newer."""

import json
from pathlib import Path

import fsspec
import pytest

from fki.core.errors import FkiError
from fki.net.remote_folder import RemoteFolder, is_address


@pytest.fixture
def address() -> str:
    """Of a store in memory."""
    store = fsspec.filesystem("memory")
    store.store.clear()
    return "memory://bucket/run"


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        file = folder / name.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def save(folder: Path, name: str, order: int) -> None:
    """A checkpoint."""
    place = folder / "checkpoints" / name
    place.mkdir(parents=True, exist_ok=True)
    (place / "weights.safetensors").write_text(f"weights {order}", encoding="utf-8")
    (place / "manifest.json").write_text(json.dumps({"order": order}), encoding="utf-8")


def stored() -> dict[str, str]:
    store = fsspec.filesystem("memory")
    return {path: store.cat_file(path).decode() for path in store.find("/bucket")}


def test_an_address_is_no_path() -> None:
    for text in ("s3://bucket/run", "s3:/bucket/run", "gs://b", "hf://datasets/a/b", "file:///x/y"):
        assert is_address(text) is (text != "file:///x/y")
    for text in ("runs/a", "/data", "C:/runs", "gguf:model.gguf", "hub:owner/name", "ray://h:1"):
        assert not is_address(text)
    folder = RemoteFolder.at("s3:/bucket/runs/mine/")
    assert folder.address == "s3://bucket/runs/mine" and folder.local.name == "mine"


def test_what_was_pushed_is_pulled_elsewhere(address: str, tmp_path: Path) -> None:
    here, there = (RemoteFolder(address, tmp_path / name) for name in ("here", "there"))
    write(here.local, run="{}", metrics__a="1", **{".lock": "x"})
    save(here.local, "2024-Q1", 1)
    assert here.push() == 4 and here.push() == 0
    assert "/bucket/run/.lock" not in stored()
    assert there.pull()
    assert (there.local / "metrics" / "a").read_text() == "1"
    assert (there.local / "checkpoints" / "2024-Q1" / "weights.safetensors").is_file()
    write(there.local, metrics__a="12")
    assert there.push() == 1 and stored()["/bucket/run/metrics/a"] == "12"


def record_copies(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of all files that are copied from now on, in order."""
    names: list[str] = []
    copy = RemoteFolder._copy

    def note(self: RemoteFolder, do: object, source: str, target: str, name: str) -> None:
        names.append(name)
        copy(self, do, source, target, name)

    monkeypatch.setattr(RemoteFolder, "_copy", note)
    return names


def test_a_file_that_makes_others_count_comes_last(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RemoteFolder(address, tmp_path / "run")
    write(folder.local, **{"run.json": "{}", "metrics.jsonl": "", "zebra": ""})
    save(folder.local, "2024-Q1", 1)
    order = record_copies(monkeypatch)
    folder.push()
    assert order == [
        "checkpoints/2024-Q1/weights.safetensors",
        "metrics.jsonl",
        "zebra",
        "checkpoints/2024-Q1/manifest.json",
        "run.json",
    ]


def test_checkpoints_that_were_replaced_are_removed_and_nothing_else(
    address: str, tmp_path: Path
) -> None:
    folder = RemoteFolder(address, tmp_path / "run")
    save(folder.local, "2024-Q1", 1)
    folder.push()
    fsspec.filesystem("memory").pipe_file("/bucket/run/mine.txt", b"my own")
    for file in (folder.local / "checkpoints" / "2024-Q1").iterdir():
        file.unlink()
    save(folder.local, "2024-Q2", 2)
    folder.push()
    names = {path.removeprefix("/bucket/run/") for path in stored()}
    assert names == {
        "mine.txt",
        "checkpoints/2024-Q2/manifest.json",
        "checkpoints/2024-Q2/weights.safetensors",
    }


def test_the_newer_checkpoint_wins(address: str, tmp_path: Path) -> None:
    here, there = (RemoteFolder(address, tmp_path / name) for name in ("here", "there"))
    save(here.local, "a", 1)
    here.push()
    there.pull()
    save(there.local, "b", 2)
    there.push()
    here.pull()  # went on elsewhere
    assert (here.local / "checkpoints" / "b" / "manifest.json").is_file()
    save(here.local, "c", 3)  # not uploaded, because the network was down
    again = RemoteFolder(address, here.local)
    again.pull()
    assert (here.local / "checkpoints" / "c" / "manifest.json").is_file()


def test_what_is_equal_is_copied_once_and_what_has_changed_again(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = (RemoteFolder(address, tmp_path / name) for name in ("here", "there"))
    write(here.local, a="same", b="old")
    here.push()
    there.pull()
    write(here.local, b="new")  # as long as before
    here.push()
    copied = record_copies(monkeypatch)
    again = RemoteFolder(address, there.local)  # in another process
    again.pull()
    assert copied == ["b"] and (there.local / "b").read_text() == "new"
    write(there.local, a="mine")  # the copy is fki's own: the address counts
    RemoteFolder(address, there.local).pull()
    assert (there.local / "a").read_text() == "same"


def test_a_comparison_copies_no_checkpoints(address: str, tmp_path: Path) -> None:
    here, there = (RemoteFolder(address, tmp_path / name) for name in ("here", "there"))
    write(here.local, **{"run.json": "{}"})
    save(here.local, "a", 1)
    here.push()
    assert there.pull(leave_out="checkpoints")
    assert (there.local / "run.json").is_file() and not (there.local / "checkpoints").exists()


def test_what_cannot_be_reached_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not RemoteFolder("memory://bucket/nothing", tmp_path / "x").pull()
    with pytest.raises(FkiError, match="nonsense://a cannot be reached"):
        RemoteFolder("nonsense://a", tmp_path / "x").pull()

    def missing(address: str) -> None:
        raise ImportError("Install s3fs")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(FkiError, match="needs s3fs, which is not installed") as caught:
        RemoteFolder("s3://a/b", tmp_path / "x").pull()
    assert "pip install s3fs" in str(caught.value.hint)
