"""Errors that a user can resolve, each with its exit code. Only the commands print them."""

from collections.abc import Iterable
from difflib import get_close_matches


class FkiError(Exception):
    """An error with a message for the user (what failed, why) and a hint (what to type)."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(FkiError):
    """Invalid settings: an unknown key, a wrong type, or an impossible combination."""

    exit_code = 2


class DataError(FkiError):
    """Data is missing, malformed, or does not match its checksum."""

    exit_code = 3


class NotDownloaded(DataError):
    """A known dataset or model was not downloaded yet."""


class CheckFailed(FkiError):
    """A check of a result failed, such as an export that gives other answers than its run."""

    exit_code = 4


class RunLocked(FkiError):
    """Another process uses the run's folder, or has finished the run."""


class RunDone(RunLocked):
    """The run is complete already."""

    folder = ""  # of the run


class CannotFold(FkiError):
    """The method adds modules that a plain model of the same class does not have."""


class Interrupted(FkiError):
    """The user stopped the command; finished work is saved."""

    exit_code = 75


def closest_match(name: str, known: Iterable[str]) -> str | None:
    """The most similar known name, ignoring case; None if no name is similar."""
    by_folded = {word.casefold(): word for word in known}
    match = get_close_matches(name.casefold(), list(by_folded), n=1, cutoff=0.6)
    return by_folded[match[0]] if match else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?` with the most similar known name, or ""."""
    match = closest_match(name, known)
    return f" Did you mean '{match}'?" if match else ""
