"""Runs, datasets and exports at addresses, such as s3://bucket/run: copied here, and uploaded."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from fki.commands._console import Show, is_main_process
from fki.core.errors import FkiError

if TYPE_CHECKING:
    from fki.commands._options import RunRequest
    from fki.net.remote_folder import RemoteFolder

SEPARATOR = ":/"  # of every address; a Path has a single slash


def fetch(text: str, show: Show, *, leave_out: str = "") -> str:
    """A path as it is; an address is copied here, and the path of its copy returned.

    Raises FkiError if the address cannot be read, or if there is nothing.
    """
    folder = _folder_at(text)
    if folder is None:
        return text
    folder.local.parent.mkdir(parents=True, exist_ok=True)
    with show.busy(f"copying {folder.address}"), FileLock(folder.local.parent / ".lock"):
        found = folder.pull(leave_out=leave_out)
    if not found:
        raise FkiError(f"There is nothing at {folder.address}.")
    return str(folder.local)


@contextmanager
def uploaded(output: Path, show: Show) -> Iterator[Path]:
    """A folder to write to, which is uploaded at the end if the output is an address."""
    folder = _folder_at(str(output))
    if folder is None:
        yield output
        return
    with show.busy(f"looking at {folder.address}"):
        folder.pull()
    yield folder.local
    _upload(folder, show)


def with_dataset_here(request: "RunRequest", show: Show) -> "RunRequest":
    """The request with a copy of a dataset at an address."""
    dataset = _stated(request, "dataset")
    if _folder_at(dataset) is None:
        return request
    return replace(request, flags=request.flags | {"dataset": fetch(dataset, show)})


@contextmanager
def at_addresses(
    request: "RunRequest", show: Show
) -> Iterator[tuple["RunRequest", Callable[[], None]]]:
    """The request with copies in place of addresses, and a function that uploads the run so far.

    What could not be uploaded meanwhile is a note; at the end it is an error.
    """
    request = with_dataset_here(request, show)
    folder = _folder_at(_stated(request, "output_dir"))
    if folder is None:
        yield request, lambda: None
        return
    flags = request.flags | {"output_dir": str(folder.local)}
    if not is_main_process():  # of several that share the run: one copies and uploads
        yield replace(request, flags=flags), lambda: None
        return
    with show.busy(f"looking at {folder.address}"):
        folder.pull()

    def upload_so_far() -> None:
        try:
            folder.push()
        except FkiError as error:
            show.notes([f"Not uploaded yet: {error}"])

    try:
        yield replace(request, flags=flags), upload_so_far
    except BaseException:
        upload_so_far()  # an interrupted run is resumed from there
        raise
    _upload(folder, show)


def _upload(folder: "RemoteFolder", show: Show) -> None:
    with show.busy(f"uploading to {folder.address}"):
        folder.push()
    show.note(f"Uploaded: {folder.address}")


def _folder_at(text: str) -> "RemoteFolder | None":
    """The folder of an address; None for a path."""
    if SEPARATOR not in text:
        return None
    from fki.net.remote_folder import RemoteFolder, is_address

    return RemoteFolder.at(text) if is_address(text) else None


def _stated(request: "RunRequest", key: str) -> str:
    """The value of a setting in the last layer that states it; "" without one."""
    if request.flags.get(key):
        return str(request.flags[key])
    if not any(SEPARATOR in text for text in request.sets or []) and not _has_own(request):
        return ""
    stated = [layer.values[key] for layer in request.read_layers() if layer.values.get(key)]
    return str(stated[-1]) if stated else ""


def _has_own(request: "RunRequest") -> bool:
    """Does the request have a preset of the user's own, which may state addresses?"""
    return any(preset.endswith((".toml", ".json")) for preset in request.presets)
