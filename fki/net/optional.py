"""The libraries that only dumps need."""

import sys
from importlib import import_module
from typing import Any

from fki.core.errors import DataError


def require_module(name: str) -> Any:
    """A module by name. Raises DataError where it is not installed."""
    try:
        return import_module(name)
    except ImportError:
        raise DataError(
            f"Reading this dump needs {name}, and it is not installed.",
            hint='Run: pip install "fki[dumps]"',
        ) from None


def import_zstd() -> Any:
    """The standard library's module, or its backport. Raises DataError where there is neither."""
    return require_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
