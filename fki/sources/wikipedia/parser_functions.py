"""Evaluate the parser functions that are words of a sentence: {{formatnum:5432}}, {{lc:A}}.

https://www.mediawiki.org/wiki/Help:Extension:ParserFunctions and
https://www.mediawiki.org/wiki/Help:Magic_words describe them. Numbers are shown as written, since
the separators depend on the language of the wiki. A result that depends on the day, on other pages
or on a program (#invoke) cannot be computed.
"""

import re
from collections.abc import Callable, Sequence
from fractions import Fraction

PAGE_VARIABLES = (  # of an article, these are its title
    "pagename fullpagename basepagename rootpagename subpagename articlepagename subjectpagename"
)
SILENT_FUNCTIONS = (  # without words where they stand
    "defaultsort defaultsortkey defaultcategorysort displaytitle shortdesc #tag #seo #related "
    "#coordinates #babel noexternallanglinks #set #declare"
)
PAGE_NAMES = frozenset(PAGE_VARIABLES.split())
SILENT = frozenset(SILENT_FUNCTIONS.split())
MAX_EXPRESSION_CHARS = 200
MAX_DECIMALS = 10  # a longer result would show how PHP rounds
TOKEN = re.compile(r"\s*(\d+(?:\.\d+)?|\.\d+|[-+*/()]|div|round)", re.IGNORECASE)


class NotComputable(Exception):
    """The text of a function or template cannot be computed."""


def evaluate_function(name: str, arguments: Sequence[str], title: str) -> str:
    """The text of a parser function or variable, "" for those without text.

    Args:
        name: in lower case, such as "formatnum".
        arguments: as plain text; the first is what follows the colon.
        title: of the page.
    Raises:
        NotComputable: it has a text that cannot be computed.
    """
    if name in SILENT:
        return ""
    if name in PAGE_NAMES and title:
        return title
    if (function := FUNCTIONS.get(name)) and arguments:
        return function([argument.strip() for argument in arguments])
    raise NotComputable


def is_function(name: str) -> bool:
    """Whether this name, in lower case, is a function with a text that can be computed."""
    return name in FUNCTIONS or name in SILENT


def _choose(arguments: list[str]) -> str:
    return [*arguments, "", ""][1 if arguments[0] else 2]


def _compare(arguments: list[str]) -> str:
    first, second, same, different = [*arguments, "", "", ""][:4]
    return same if first == second else different


def evaluate_expression(text: str) -> str:
    """The result of plain arithmetic: + - * / div round and parentheses.

    Raises NotComputable for other operators, and for results that are no short decimal number.
    """
    if len(text) > MAX_EXPRESSION_CHARS:
        raise NotComputable
    tokens = _Tokens(text)
    result = tokens.parse_round()
    if tokens.rest:
        raise NotComputable
    return format_decimal(result)


def format_decimal(number: Fraction) -> str:
    """The number in decimals. Raises NotComputable if it has more than `MAX_DECIMALS`."""
    scaled = number * 10**MAX_DECIMALS
    if scaled.denominator != 1:
        raise NotComputable
    sign = "-" if scaled < 0 else ""
    digits = str(abs(scaled.numerator)).zfill(MAX_DECIMALS + 1)
    whole, decimals = digits[:-MAX_DECIMALS], digits[-MAX_DECIMALS:].rstrip("0")
    return f"{sign}{whole}.{decimals}" if decimals else f"{sign}{whole}"


def round_half_up(number: Fraction, digits: int) -> Fraction:
    """Round as PHP does: a half goes away from zero."""
    scaled = abs(number) * Fraction(10) ** digits
    rounded = int(scaled + Fraction(1, 2)) / Fraction(10) ** digits
    return rounded if number >= 0 else -rounded


class _Tokens:
    """Recursive descent over the tokens of an expression, with MediaWiki's precedence."""

    def __init__(self, text: str) -> None:
        self.rest = TOKEN.findall(text.lower())
        if "".join(self.rest) != re.sub(r"\s", "", text.lower()):
            raise NotComputable

    def _next_of(self, *operators: str) -> str:
        return self.rest.pop(0) if self.rest and self.rest[0] in operators else ""

    def parse_round(self) -> Fraction:
        value = self._parse_sum()
        while self._next_of("round"):
            digits = self._parse_sum()
            if digits.denominator != 1 or abs(digits) > MAX_DECIMALS:
                raise NotComputable
            value = round_half_up(value, int(digits))
        return value

    def _parse_sum(self) -> Fraction:
        value = self._parse_product()
        while operator := self._next_of("+", "-"):
            other = self._parse_product()
            value = value + other if operator == "+" else value - other
        return value

    def _parse_product(self) -> Fraction:
        value = self._parse_factor()
        while operator := self._next_of("*", "/", "div"):
            other = self._parse_factor()
            if operator != "*" and not other:
                raise NotComputable
            value = value * other if operator == "*" else value / other
        return value

    def _parse_factor(self) -> Fraction:
        if sign := self._next_of("+", "-"):
            return self._parse_factor() * (-1 if sign == "-" else 1)
        if self._next_of("("):
            value = self.parse_round()
            if not self._next_of(")"):
                raise NotComputable
            return value
        if not self.rest or not self.rest[0][-1].isdigit():
            raise NotComputable
        return Fraction(self.rest.pop(0))


FUNCTIONS: dict[str, Callable[[list[str]], str]] = {
    "formatnum": lambda arguments: arguments[0],
    "lc": lambda arguments: arguments[0].lower(),
    "uc": lambda arguments: arguments[0].upper(),
    "lcfirst": lambda arguments: arguments[0][:1].lower() + arguments[0][1:],
    "ucfirst": lambda arguments: arguments[0][:1].upper() + arguments[0][1:],
    "#expr": lambda arguments: evaluate_expression(arguments[0]),
    "#if": _choose,
    "#ifeq": _compare,
}
