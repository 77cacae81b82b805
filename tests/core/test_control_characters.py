"""No control character reaches a terminal."""

import unicodedata

from fki.core.control_characters import escape_controls, find_control


def test_control_characters_are_those_of_unicode_without_white_space() -> None:
    for number in range(0x3000):
        is_control = unicodedata.category(chr(number)) == "Cc" and chr(number) not in "\t\n\r"
        assert find_control(f"a{chr(number)}") == (f"U+{number:04X}" if is_control else "")
        assert (escape_controls(chr(number)) != chr(number)) is is_control


def test_they_are_written_out() -> None:
    assert escape_controls("a\x1b[2Jb\x00\n") == "a\\x1b[2Jb\\x00\n"
