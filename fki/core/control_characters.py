"""Control characters: rows must not contain them, and messages show them escaped.

A terminal obeys them, HTML forbids most of them, and Git takes a file with U+0000 for binary.
"""

import re

# C0 and C1 without tab, line feed and carriage return, which are white space in a text
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def find_control(text: str) -> str:
    """The first control character of a text, such as "U+001B"; "" if there is none."""
    found = CONTROL.search(text)
    return f"U+{ord(found[0]):04X}" if found else ""


def escape_controls(text: str) -> str:
    r"""The text with control characters written out, such as `\x1b`."""
    return CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
