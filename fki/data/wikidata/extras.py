"""The libraries that only dumps need."""

from importlib import import_module
from typing import Any

from fki.core.errors import DataError


def needed(name: str) -> Any:
    """A module by name. Raises DataError where it is not installed."""
    try:
        return import_module(name)
    except ImportError:
        raise DataError(
            f"Reading this dump needs {name}, and it is not installed.",
            hint='Run: pip install "fki[dumps]"',
        ) from None
