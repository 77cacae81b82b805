"""Datasets of the Hugging Face Hub: a revision, pinned to its commit, and verified files.

The address is `hub:owner/name`. huggingface_hub downloads into its own cache (HF_HOME,
HF_HUB_CACHE), with its own token (`hf auth login`, HF_TOKEN); HF_HUB_OFFLINE=1 reads the cache
alone. That library checks sizes; this module also checks the digests, on each call: the name of a
file in the cache is its SHA-256, or Git's SHA-1 for a small file. A dataset's code is never run.
"""

import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fki import __version__
from fki.core.atomic_io import file_checksums
from fki.core.errors import DataError
from fki.net.downloads import FileProgress, OnProgress
from fki.net.http import RETRY_STATUSES, HttpClient, RetryableError, parse_retry_after

HUB_PREFIX, CARD = "hub:", "README.md"
CARD_FILES = [CARD, ".gitattributes"]  # every repository has a .gitattributes
SIGN_IN = "If it is private, run: hf auth login   or set HF_TOKEN."


@dataclass(frozen=True, slots=True)
class HubSnapshot:
    """A dataset of the Hub at one commit."""

    name: str  # owner/name
    revision: str  # the commit's SHA
    folder: Path  # in the Hub's cache; contains the files fetched so far
    names: tuple[str, ...]  # of all files of the commit
    sizes: dict[str, int]  # bytes; empty if unknown

    @property
    def url(self) -> str:
        """The page of the commit."""
        return f"{_endpoint()}/datasets/{self.name}/tree/{self.revision}"


def pin_snapshot(name: str, revision: str = "") -> HubSnapshot:
    """The dataset at a branch, tag or commit, by default the newest one, with its card.

    Raises DataError if it cannot be fetched. A cache without the card is accepted.
    """
    from huggingface_hub import get_cached_repo_tree
    from huggingface_hub.errors import CachedRepoTreeNotFoundError, IncompleteSnapshotError

    try:
        folder = _download(name, revision, CARD_FILES)
    except DataError as error:
        if not isinstance(error.__cause__, IncompleteSnapshotError):
            raise
        folder = Path(error.__cause__.snapshot_path)
    sha = folder.name
    try:
        tree = get_cached_repo_tree(name, repo_type="dataset", revision=sha)
    except CachedRepoTreeNotFoundError:  # another program filled the cache
        found = sorted(f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file())
        return HubSnapshot(name, sha, folder, tuple(found), {})
    sizes = {file.path: file.size for file in tree}
    return HubSnapshot(name, sha, folder, tuple(sorted(sizes)), sizes)


def fetch_files(
    snapshot: HubSnapshot, names: Sequence[str], on_progress: OnProgress | None = None
) -> list[Path]:
    """Fetch and verify files. Raises DataError if one cannot be fetched or does not match."""
    _download(snapshot.name, snapshot.revision, [glob.escape(name) for name in names], on_progress)
    files = [snapshot.folder / name for name in names]
    for name, file in zip(names, files, strict=True):
        if fault := _find_mismatch(file, snapshot.sizes.get(name)):
            raise DataError(
                f"{name} of {snapshot.name} does not match the Hub's record: {fault}.",
                hint=f"Delete {_blob_path(file)} and run the same command again.",
            )
    return files


def _download(
    name: str, revision: str, patterns: list[str], on_progress: OnProgress | None = None
) -> Path:
    """Download the files that match. Returns the folder of the revision."""
    from huggingface_hub import snapshot_download

    def attempt() -> Path:
        with _translate_errors(name, revision, client.transport_error):
            return Path(
                snapshot_download(
                    name,
                    repo_type="dataset",
                    revision=revision or None,
                    allow_patterns=patterns,
                    library_name="fki",
                    library_version=__version__,
                    tqdm_class=_progress_bar_class(name, on_progress),
                )
            )

    with HttpClient() as client:
        folder: Path = client.retry(attempt, f"{_endpoint()}/datasets/{name}")
    return folder


def _progress_bar_class(name: str, on_progress: OnProgress | None) -> Any:
    """A progress bar class for huggingface_hub that draws nothing and calls `on_progress`."""
    from tqdm import tqdm

    class Bar(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "disable": True})
            self.is_of_bytes = str(kwargs.get("desc")).startswith("Reconstructing")
            self.done = 0

        def update(self, n: float | None = 1) -> None:
            self.done += int(n or 0)
            if on_progress and self.is_of_bytes:
                on_progress(FileProgress(name, self.done, self.total, None))

    return Bar


@contextmanager
def _translate_errors(name: str, revision: str, lost: type[Exception]) -> Iterator[None]:
    """Raise DataError in place of the Hub's errors. Raises TryLater for what may pass."""
    from huggingface_hub import errors as hub

    try:
        yield
    except hub.HFValidationError:
        raise DataError(
            f"'{name}' is not a valid name of a Hub dataset.", hint="Write: hub:owner/name"
        ) from None
    except hub.GatedRepoError:
        raise DataError(
            f"Dataset '{name}' is gated.",
            hint=f"Request access at {_endpoint()}/datasets/{name}, then run: hf auth login   "
            "or set HF_TOKEN",
        ) from None
    except hub.RevisionNotFoundError:
        raise DataError(
            f"Revision '{revision}' of '{name}' not found.",
            hint="Leave --revision out, or give a branch, tag or commit of the dataset.",
        ) from None
    except hub.RepositoryNotFoundError:
        raise DataError(
            f"Dataset '{name}' not found on the Hub.", hint=f"Check the name. {SIGN_IN}"
        ) from None
    except hub.HfHubHTTPError as error:
        raise _http_error(name, error) from None
    except hub.LocalEntryNotFoundError as error:
        cause = error.__cause__
        if isinstance(cause, hub.HfHubHTTPError) and not isinstance(
            cause, hub.OfflineModeIsEnabled
        ):
            raise _http_error(name, cause) from None
        raise _not_cached_error(name, revision, cause) from error
    except lost as error:
        raise RetryableError(f"{type(error).__name__}: {error}") from None
    except OSError as error:
        raise DataError(
            f"'{name}' cannot be fetched: {error.strerror or error}",
            hint="The same command resumes. HF_HOME sets the folder of the cache.",
        ) from None


def _http_error(name: str, error: Any) -> Exception:
    status = error.response.status_code
    what = f"{status} {error.response.reason_phrase}".strip()
    if status in RETRY_STATUSES:
        return RetryableError(what, parse_retry_after(error.response.headers))
    return DataError(f"{_endpoint()} answers {what} for '{name}'.", hint=SIGN_IN)


def _not_cached_error(name: str, revision: str, cause: BaseException | None) -> DataError:
    """Neither the Hub nor the cache has the dataset."""
    from huggingface_hub import constants

    what = f"'{name}'" + (f" at '{revision}'" if revision else "")
    if constants.HF_HUB_OFFLINE:
        return DataError(
            f"{constants.HF_HUB_CACHE} does not contain all of {what}, and HF_HUB_OFFLINE is set.",
            hint="Run the same command without HF_HUB_OFFLINE once.",
        )
    why = f" ({type(cause).__name__})" if cause else ""
    return DataError(
        f"{_endpoint()} cannot be reached{why}, and {constants.HF_HUB_CACHE} does not contain all "
        f"of {what}.",
        hint="Check the network; behind a proxy, set HTTPS_PROXY. The same command resumes.",
    )


def _find_mismatch(file: Path, size: int | None) -> str:
    """How a file of the cache differs from the Hub's record, as text; "" if it does not."""
    if not file.is_file():
        return "it is missing"
    size_on_disk = file.stat().st_size
    if size is not None and size_on_disk != size:
        return f"it must have {size:,} bytes, it has {size_on_disk:,}"
    expected = _blob_path(file).name
    if len(expected) not in (40, 64) or _blob_path(file) == file:
        return ""  # a disk without links: the digest is unknown
    algorithm = "sha256" if len(expected) == 64 else "sha1"
    git_header = b"blob %d\0" % size_on_disk if algorithm == "sha1" else b""
    actual = file_checksums(file, [algorithm], prefix=git_header)[algorithm]
    return "" if actual == expected else f"its {algorithm} must be {expected}, it is {actual}"


def _blob_path(file: Path) -> Path:
    """The file of the cache that a link points to; its name is the digest."""
    return file.parent / os.readlink(file) if file.is_symlink() else file


def _endpoint() -> str:
    from huggingface_hub import constants

    return constants.ENDPOINT


def read_card(file: Path) -> Mapping[str, Any]:
    """The front matter of a card; empty if the file is missing or unreadable."""
    from huggingface_hub import metadata_load
    from yaml import YAMLError

    try:
        return (metadata_load(file) if file.is_file() else None) or {}
    except (OSError, ValueError, YAMLError):
        return {}


def card_license(card: Mapping[str, Any]) -> str:
    """The license as the card spells it; "unknown" if it states none."""
    license = card.get("license") or card.get("license_name") or "unknown"
    return ", ".join(map(str, license)) if isinstance(license, list) else str(license)
