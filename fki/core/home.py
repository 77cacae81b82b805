"""Where fki keeps what it downloads: FKI_HOME, else the platform's data folder."""

import os
from pathlib import Path

from platformdirs import user_data_path


def data_home() -> Path:
    """The data folder; it need not exist yet."""
    home = os.environ.get("FKI_HOME")
    return Path(home).expanduser() if home else user_data_path("fki", appauthor=False)


def asset(name: str) -> Path:
    """A folder that ships inside the package."""
    return Path(__file__).resolve().parent.parent / "assets" / name
