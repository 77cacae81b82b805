"""The versions `edits:K` of a stream: a period is K edits, however they are dated.

Single, batch and sequential editing of knowledge are such streams: `edits:1` with `reset = "base"`,
`edits:all`, and `edits:1` or `edits:10` without a reset.
"""

import re
from typing import NamedTuple, get_args

from fki.core.calendar import ALL
from fki.core.errors import did_you_mean
from fki.core.types import Version

PREFIX = "edits:"
_FORM = re.compile(r"edits:(all|[1-9]\d{0,8})(?::(\d{1,9}))?")
FORM = "edits:N (N edits a period; edits:N:SEED in random order)"


class EditVersion(NamedTuple):
    """The size of a period, and the order of the edits."""

    size: int  # edits of a period; 0: all of them
    seed: int | None  # of a random order; None: the order of the file, by date if they have one

    def period_name(self, first: int, last: int, total: int) -> str:
        """The name of the period of these edits, counted from 1; `all` if they are all edits.

        Args:
            total: at least the number of all edits; it decides the number of digits.
        """
        if not self.size:
            return "all"
        numbers = [str(n).zfill(len(str(total))) for n in dict.fromkeys((first, last))]
        return f"edit{'s' * (len(numbers) - 1)}-{'-'.join(numbers)}"


def parse_edit_version(version: str) -> EditVersion | None:
    """The parts of a version of edits; None for any other version."""
    match = _FORM.fullmatch(version)
    if match is None:
        return None
    size, seed = match.groups()
    return EditVersion(0 if size == "all" else int(size), None if seed is None else int(seed))


def describe_periods(number: int, version: str) -> str:
    """`12 quarters`, `1 period`, `50 periods of 1 edit`."""
    edits = parse_edit_version(version)
    is_named = version != ALL and edits is None
    periods = f"{number} {version if is_named else 'period'}{'s' * (number != 1)}"
    if edits is None or not edits.size:
        return periods
    return f"{periods} of {edits.size} edit{'s' * (edits.size != 1)}"


def check_version(version: str) -> str:
    """The version. Raises ValueError if there is none of this name."""
    known = get_args(Version)
    if version in known or parse_edit_version(version):
        return version
    listed = ", ".join(f"'{name}'" for name in known)
    raise ValueError(
        f"must be {listed} or {FORM}, not '{version}'.{did_you_mean(version, [*known, 'edits:1'])}"
    )
