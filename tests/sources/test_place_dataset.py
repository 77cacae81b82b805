"""A known dataset is fetched whole, verified each time, and never deleted."""

import shutil
import threading
from pathlib import Path

import pytest

from fki.core.errors import DataError, NotDownloaded
from fki.data import open_dataset
from fki.sources import build
from fki.sources.place_dataset import lock_folder, place_dataset, place_embedded


class Silent:
    """A progress reporter that shows nothing."""

    def report_file(self, progress: object) -> None: ...
    def report_count(self, label: str, done: int, total: int) -> None: ...
    def note(self, text: str) -> None: ...


def download(name: str) -> build.BuiltDataset:
    return build.build_dataset(build.make_request(name, "", (), {}), "", Silent())


def content(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def test_fetch_puts_a_verified_dataset_into_the_data_folder_and_leaves_nothing_else(
    tmp_path: Path,
) -> None:
    folder, was_here = place_embedded("wiki")
    assert folder == tmp_path / "home" / "datasets" / "wiki" and not was_here
    assert open_dataset.verify_dataset(folder) == open_dataset.read_manifest(folder)["digest"]
    assert [f.name for f in folder.parent.iterdir()] == ["wiki"]


def test_a_second_fetch_says_that_it_is_there_and_changes_nothing(wiki: Path) -> None:
    before = content(wiki)
    assert place_embedded("wiki") == (wiki, True)
    assert content(wiki) == before


def alter(folder: Path) -> None:
    file = folder / "stream.jsonl"
    file.write_bytes(file.read_bytes().replace(b"2023", b"2024", 1))


def lose(folder: Path) -> None:
    (folder / "base.jsonl").unlink()


def add(folder: Path) -> None:
    (folder / "probes").mkdir()
    (folder / "probes" / "mine.jsonl").write_text("{}\n", encoding="utf-8")


def break_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text("{", encoding="utf-8")


HARMS = {
    "stream.jsonl": alter,
    "base.jsonl": lose,
    "mine.jsonl": add,
    "manifest.json": break_manifest,
}


@pytest.mark.parametrize("name", HARMS)
@pytest.mark.parametrize("use", ["fetch", "open"])
def test_a_harmed_dataset_is_refused_and_left_as_it_is(wiki: Path, name: str, use: str) -> None:
    HARMS[name](wiki)
    before = content(wiki)
    with pytest.raises(DataError, match=name) as caught:
        place_embedded("wiki") if use == "fetch" else open_dataset.open_stream(
            "wiki", "day", "sentinel"
        )
    assert caught.value.exit_code == 3 and caught.value.hint
    assert content(wiki) == before


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"files": []}', '{"files": {}}', '{"files": {"a": {}}}']
)
def test_a_manifest_of_another_shape_is_refused(wiki: Path, text: str) -> None:
    (wiki / "manifest.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError):
        place_embedded("wiki")


def test_an_unknown_dataset_brings_the_nearest_name() -> None:
    with pytest.raises(DataError, match="Did you mean 'wiki'"):
        download("wikki")
    with pytest.raises(DataError, match="Did you mean 'wiki'"):
        open_dataset.open_stream("wikki", "day", "sentinel")


def test_a_dataset_that_is_not_here_says_how_to_get_it() -> None:
    with pytest.raises(NotDownloaded) as caught:
        open_dataset.open_stream("wiki", "quarter", "sentinel")
    assert caught.value.hint == "Run: fki download wiki"


def test_a_source_that_fails_leaves_no_half_folder() -> None:
    def fail(folder: Path) -> None:
        (folder / "stream.jsonl").write_text("{}", encoding="utf-8")
        raise ConnectionError("the line is dead")

    folder = open_dataset.dataset_folder("failing")
    with pytest.raises(ConnectionError):
        place_dataset(folder, fail)
    assert list(folder.parent.iterdir()) == []


def test_what_a_killed_process_left_goes_with_the_next_one() -> None:
    folder = open_dataset.dataset_folder("wiki")
    (folder.parent / ".wiki.fki" / "wiki").mkdir(parents=True)
    (folder.parent / ".wiki.fki" / "wiki" / "base.jsonl").touch()
    assert place_embedded("wiki") == (folder, False)
    assert [f.name for f in folder.parent.iterdir()] == ["wiki"]


def test_a_full_disk_is_named_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise shutil.Error([("from", "to", "[Errno 28] No space left on device")])

    monkeypatch.setattr("fki.sources.place_dataset.shutil.copytree", full)
    with pytest.raises(DataError, match="not all files could be copied"):
        place_embedded("wiki")
    assert list(open_dataset.dataset_folder("wiki").parent.iterdir()) == []


def test_one_process_at_a_time_makes_a_dataset_in_a_place(tmp_path: Path) -> None:
    waited = threading.Event()

    def second() -> None:
        with lock_folder(tmp_path / "mine", waited.set):
            order.append("second")

    order: list[str] = []
    thread = threading.Thread(target=second)
    with lock_folder(tmp_path / "mine"), lock_folder(tmp_path / "other"):
        thread.start()
        assert waited.wait(30)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_a_folder_of_one_s_own_is_opened_by_its_path(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    row = '{"prompt": "x is", "target": "a", "date": "2023-01"}\n'
    (folder / "stream.jsonl").write_text(row, encoding="utf-8")
    assert open_dataset.open_stream("mine", "month", "sentinel").name == "mine"


def test_a_data_folder_that_cannot_be_made_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("FKI_HOME", str(tmp_path / "file"))
    with pytest.raises(DataError, match="cannot be put into") as caught:
        place_embedded("wiki")
    assert "FKI_HOME" in str(caught.value.hint)
