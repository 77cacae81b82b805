"""What can go wrong for a user, each with its exit code; only `cli` prints them."""

from collections.abc import Iterable
from difflib import get_close_matches


class FkiError(Exception):
    """A user's problem: what must hold, what is, and (as the hint) what to type next."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(FkiError):
    """The settings cannot be used: unknown key, wrong type, impossible combination."""

    exit_code = 2


class DataError(FkiError):
    """Data is missing, malformed or not what its checksum says."""

    exit_code = 3


class NotDownloaded(DataError):
    """A known dataset or model that is not on this machine."""


class CheckFailed(FkiError):
    """A check that guards a result did not pass, such as an export that answers differently."""

    exit_code = 4


class RunLocked(FkiError):
    """Another process is in the run's folder, or has brought the run to its end."""


class CannotFold(FkiError):
    """The method adds parts that no plain model of the same class can hold."""


class Interrupted(FkiError):
    """Stopped by the user; what was finished is saved."""

    exit_code = 75


def closest_match(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like this one, whatever the case; None where none is alike."""
    by_folded = {word.casefold(): word for word in known}
    match = get_close_matches(name.casefold(), list(by_folded), n=1, cutoff=0.6)
    return by_folded[match[0]] if match else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?` for the closest of the known names, else an empty string."""
    match = closest_match(name, known)
    return f" Did you mean '{match}'?" if match else ""
