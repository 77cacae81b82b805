"""Where fki keeps what it downloads: FKI_HOME, else the platform's data folder."""

import os
from contextlib import suppress
from pathlib import Path

from platformdirs import user_data_path


def data_home() -> Path:
    """The data folder; it need not exist yet."""
    home = os.environ.get("FKI_HOME")
    return expand_path(home) if home else user_data_path("fki", appauthor=False)


def evict_oldest(folder: Path, pattern: str, most: int) -> None:
    """Keep at most so many bytes of the files of a folder that can be made again, and always the
    newest one; those that were used longest ago go first."""
    with suppress(OSError):  # another process may do the same
        files = sorted(folder.glob(pattern), key=lambda f: f.stat().st_mtime, reverse=True)
        held = 0
        for number, file in enumerate(files):
            held += file.stat().st_size
            if number and held > most:
                file.unlink(missing_ok=True)


def expand_path(text: str) -> Path:
    """A path as a user wrote it, `~` read as a home folder where there is one of that name."""
    return Path(os.path.expanduser(text))


def asset_folder(name: str) -> Path:
    """A folder that ships inside the package."""
    return Path(__file__).resolve().parent.parent / "assets" / name
