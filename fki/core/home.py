"""Where fki keeps what it downloads: FKI_HOME, else the platform's data folder."""

import os
from pathlib import Path

from platformdirs import user_data_path


def data_home() -> Path:
    """The data folder; it need not exist yet."""
    home = os.environ.get("FKI_HOME")
    return user_path(home) if home else user_data_path("fki", appauthor=False)


def user_path(text: str) -> Path:
    """A path as a user wrote it, `~` read as a home folder where there is one of that name."""
    return Path(os.path.expanduser(text))


def asset(name: str) -> Path:
    """A folder that ships inside the package."""
    return Path(__file__).resolve().parent.parent / "assets" / name
