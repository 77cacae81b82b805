"""Optional libraries: imports of those that an extra brings, and the commands that install them.

fki is on no package index, so an extra is installed from a checkout.
"""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from fki.core.errors import DataError
from fki.core.formatting import format_command

ROOT = Path(__file__).resolve().parents[2]  # the checkout, unless fki is installed as a copy


def describe_library_install(*names: str) -> str:
    """The command that installs libraries of the package index for this Python."""
    command = format_command(sys.executable or "python", "-m", "pip", "install", *names)
    return f"Run: {command}"


def describe_extra_install(extra: str) -> str:
    """The command that installs an extra of fki for this Python, from this checkout or another."""
    if (ROOT / "pyproject.toml").is_file():
        return describe_library_install("-e", f"{ROOT}[{extra}]")
    return f"In a checkout of fki: {describe_library_install(f'.[{extra}]')}"


def require_module(name: str, extra: str = "dumps", user: str = "This file") -> Any:
    """Import a module of an extra of fki. Raises DataError if it is not installed.

    Args:
        user: the subject of the message, which requires the module.
    """
    try:
        return import_module(name)
    except ImportError:
        raise DataError(
            f"{user} requires {name}, which is not installed.",
            hint=describe_extra_install(extra),
        ) from None


def import_zstd() -> Any:
    """Import the standard library's zstd module, or its backport. Raises DataError without both."""
    return require_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
