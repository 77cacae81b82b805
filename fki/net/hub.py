"""Datasets of the Hub, by huggingface_hub: a revision, pinned to its commit, and checked files.

`hub:owner/name` is the address. What came lies in the Hub's own cache (HF_HOME, HF_HUB_CACHE), the
token is its own (`hf auth login`, HF_TOKEN), and with HF_HUB_OFFLINE=1 nothing but the cache is
asked. That library checks sizes only; sums are checked here, each time: the Hub names a file in its
cache by its SHA-256, a small one by Git's SHA-1. No code that a dataset brings is run.
"""

import glob
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fki import __version__
from fki.core.errors import DataError
from fki.net.downloads import FileProgress, OnProgress
from fki.net.http import RETRY_STATUSES, HttpClient, RetryableError, parse_retry_after

HUB_PREFIX, CARD = "hub:", "README.md"
CARD_FILES = [CARD, ".gitattributes"]  # every repository has the latter
SIGN_IN = "Run: hf auth login   or set HF_TOKEN, if it is private."


@dataclass(frozen=True, slots=True)
class HubSnapshot:
    """A dataset of the Hub as it was at one commit."""

    name: str  # owner/name
    revision: str  # the commit's SHA
    folder: Path  # in the Hub's cache; what was not fetched yet is not in it
    names: tuple[str, ...]  # of all of its files
    sizes: dict[str, int]  # bytes; empty where nobody told

    @property
    def url(self) -> str:
        """Where a reader finds it."""
        return f"{_endpoint()}/datasets/{self.name}/tree/{self.revision}"


def pin_snapshot(name: str, revision: str = "") -> HubSnapshot:
    """The dataset at a branch, a tag or a commit, with its card; without one, as it is now.

    Raises DataError where it cannot be had. A card that a cache lacks is done without.
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
    except CachedRepoTreeNotFoundError:  # another program put it there
        found = sorted(f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file())
        return HubSnapshot(name, sha, folder, tuple(found), {})
    sizes = {file.path: file.size for file in tree}
    return HubSnapshot(name, sha, folder, tuple(sorted(sizes)), sizes)


def fetch_files(
    snapshot: HubSnapshot, names: Sequence[str], watch: OnProgress | None = None
) -> list[Path]:
    """These files, here and checked. Raises DataError where one cannot be had or is another."""
    _download(snapshot.name, snapshot.revision, [glob.escape(name) for name in names], watch)
    files = [snapshot.folder / name for name in names]
    for name, file in zip(names, files, strict=True):
        if fault := _find_mismatch(file, snapshot.sizes.get(name)):
            raise DataError(
                f"{name} of {snapshot.name} is not what the Hub says: {fault}.",
                hint=f"Delete {_blob_path(file)} and run the same command again.",
            )
    return files


def _download(
    name: str, revision: str, patterns: list[str], watch: OnProgress | None = None
) -> Path:
    """The folder of a revision, with the files that match."""
    from huggingface_hub import snapshot_download

    def once() -> Path:
        with _translate_errors(name, revision, web.transport_error):
            return Path(
                snapshot_download(
                    name,
                    repo_type="dataset",
                    revision=revision or None,
                    allow_patterns=patterns,
                    library_name="fki",
                    library_version=__version__,
                    tqdm_class=_progress_bar_class(name, watch),
                )
            )

    with HttpClient() as web:
        folder: Path = web.retry(once, f"{_endpoint()}/datasets/{name}")
    return folder


def _progress_bar_class(name: str, watch: OnProgress | None) -> Any:
    """A bar as huggingface_hub wants one, which draws nothing and tells `watch` of the bytes."""
    from tqdm import tqdm

    class Bar(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "disable": True})
            self.is_of_bytes = str(kwargs.get("desc")).startswith("Reconstructing")
            self.done = 0

        def update(self, n: float | None = 1) -> None:
            self.done += int(n or 0)
            if watch and self.is_of_bytes:
                watch(FileProgress(name, self.done, self.total, None))

    return Bar


@contextmanager
def _translate_errors(name: str, revision: str, lost: type[Exception]) -> Iterator[None]:
    """The Hub's errors as ours. Raises TryLater for what may pass."""
    from huggingface_hub import errors as hub

    try:
        yield
    except hub.HFValidationError:
        raise DataError(
            f"'{name}' is no name of a dataset on the Hub.", hint="Write: hub:owner/name"
        ) from None
    except hub.GatedRepoError:
        raise DataError(
            f"Whoever wants '{name}' must ask its owner first.",
            hint=f"Ask at {_endpoint()}/datasets/{name}, then: hf auth login   or set HF_TOKEN",
        ) from None
    except hub.RevisionNotFoundError:
        raise DataError(
            f"'{name}' has no revision '{revision}'.",
            hint="Leave --revision out, or give a branch, a tag or a commit of it.",
        ) from None
    except hub.RepositoryNotFoundError:
        raise DataError(
            f"The Hub shows no dataset '{name}'.", hint=f"Is the name right? {SIGN_IN}"
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
            hint="The same command goes on. HF_HOME says which disk is used.",
        ) from None


def _http_error(name: str, error: Any) -> Exception:
    status = error.response.status_code
    what = f"{status} {error.response.reason_phrase}".strip()
    if status in RETRY_STATUSES:
        return RetryableError(what, parse_retry_after(error.response.headers))
    return DataError(f"{_endpoint()} answers {what} to the question for '{name}'.", hint=SIGN_IN)


def _not_cached_error(name: str, revision: str, cause: BaseException | None) -> DataError:
    """Neither the Hub nor its cache has it."""
    from huggingface_hub import constants

    what = f"'{name}'" + (f" at '{revision}'" if revision else "")
    if constants.HF_HUB_OFFLINE:
        return DataError(
            f"{constants.HF_HUB_CACHE} lacks {what} or parts of it, and HF_HUB_OFFLINE is set.",
            hint="Run the same command without HF_HUB_OFFLINE once.",
        )
    why = f" ({type(cause).__name__})" if cause else ""
    return DataError(
        f"{_endpoint()} cannot be reached{why}, and {constants.HF_HUB_CACHE} lacks {what} or "
        "parts of it.",
        hint="Is the machine online? Behind a proxy, set HTTPS_PROXY. The same command goes on.",
    )


def _find_mismatch(file: Path, size: int | None) -> str:
    """What is wrong with a file of the cache; empty where it is what the Hub says."""
    if not file.is_file():
        return "it did not come"
    found = file.stat().st_size
    if size is not None and found != size:
        return f"it must have {size:,} bytes, it has {found:,}"
    expected = _blob_path(file).name
    if len(expected) not in (40, 64) or _blob_path(file) == file:
        return ""  # a disk without links: nothing tells the sum
    total = hashlib.sha256() if len(expected) == 64 else hashlib.sha1(usedforsecurity=False)
    if len(expected) == 40:  # as Git names a file
        total.update(b"blob %d\0" % found)
    with file.open("rb") as content:
        while part := content.read(2**20):
            total.update(part)
    told = total.hexdigest()
    return "" if told == expected else f"its {total.name} must be {expected}, it is {told}"


def _blob_path(file: Path) -> Path:
    """Where the bytes of a file of the cache lie, under the name that the Hub gave them."""
    return file.parent / os.readlink(file) if file.is_symlink() else file


def _endpoint() -> str:
    from huggingface_hub import constants

    return constants.ENDPOINT


def read_card(file: Path) -> Mapping[str, Any]:
    """What stands at the head of a card; empty where there is none that can be read."""
    from huggingface_hub import metadata_load
    from yaml import YAMLError

    try:
        return (metadata_load(file) if file.is_file() else None) or {}
    except (OSError, ValueError, YAMLError):
        return {}


def card_license(card: Mapping[str, Any]) -> str:
    """As the card spells it; "unknown" where it says none."""
    told = card.get("license") or card.get("license_name") or "unknown"
    return ", ".join(map(str, told)) if isinstance(told, list) else str(told)
