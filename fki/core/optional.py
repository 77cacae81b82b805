"""Imports of libraries that only dumps require: `pip install "fki[dumps]"`."""

import sys
from importlib import import_module
from typing import Any

from fki.core.errors import DataError


def require_module(name: str) -> Any:
    """Import a module. Raises DataError if it is not installed."""
    try:
        return import_module(name)
    except ImportError:
        raise DataError(
            f"This file requires {name}, which is not installed.",
            hint='Run: pip install "fki[dumps]"',
        ) from None


def import_zstd() -> Any:
    """Import the standard library's zstd module, or its backport. Raises DataError without both."""
    return require_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
