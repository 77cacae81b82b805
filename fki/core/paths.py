"""Paths: the data folder for downloads and caches, `~` in user paths, packaged assets."""

import logging
import os
from contextlib import suppress
from pathlib import Path

from platformdirs import user_data_path

logger = logging.getLogger(__name__)


def data_home() -> Path:
    """The data folder: FKI_HOME, or else the platform's. It may not exist yet."""
    home = os.environ.get("FKI_HOME")
    return expand_path(home) if home else user_data_path("fki", appauthor=False)


def evict_oldest(folder: Path, pattern: str, max_bytes: int) -> None:
    """Delete the least recently used files of a cache folder above a total size.

    Args:
        pattern: glob of the cache files.
        max_bytes: maximum number of bytes to keep. The newest file always stays.
    """
    with suppress(OSError):  # another process may delete the same files
        files = sorted(folder.glob(pattern), key=lambda f: f.stat().st_mtime, reverse=True)
        total = 0
        for number, file in enumerate(files):
            total += file.stat().st_size
            if number and total > max_bytes:
                logger.debug("Cache file deleted: %s", file)
                file.unlink(missing_ok=True)


def expand_path(text: str) -> Path:
    """The path of a user's text, with `~` expanded to a home folder if that exists."""
    return Path(os.path.expanduser(text))


def asset_folder(name: str) -> Path:
    """The path of a folder that is part of the package."""
    return Path(__file__).resolve().parent.parent / "assets" / name
