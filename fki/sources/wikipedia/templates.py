"""Render the templates that are words of a sentence; marks and layout are removed.

Without them a sentence loses its numbers ("a range of {{convert|1300|mi|km}}") or its dates
("{{as of|2014}}"). These are the most common templates in the running text of the English
Wikipedia.
"""

import re
from collections.abc import Callable
from fractions import Fraction

from fki.sources.wikipedia.date_templates import MONTHS, render_age, render_date, render_death
from fki.sources.wikipedia.parser_functions import NotComputable, format_decimal, round_half_up

Arguments = list[str]  # positional arguments as plain text

SHOW_FIRST = (  # templates that show their first argument
    "nowrap|nobr|small|smaller|big|large|larger|sc|smallcaps|angbr|angle bracket|linktext|nihongo"
    "|ill|interlanguage link|abbr|tooltip|sic|quote|blockquote|cquote|quotation|bq|format price|nq"
    "|em|strong|keypress|vanchor|visible anchor|music|not a typo|as written|nastaliq|formatnum|gaps"
    "|num|nts|mvar|math|chem2"
)
DATES = (
    "start date|end date|birth date|death date|birth-date|death-date|start-date|end-date|dob|dod"
)
SHOW_SECOND = "lang|langx|color|font color|wikt-lang"
SHOW_LAST = "transl|transliteration|translit|tlit|rtl-lang"
SYMBOLS = {
    "'s": "'s",
    "'": "'",
    "ʼ": "'",
    "=": "=",
    "!": "|",
    "nbsp": " ",
    "space": " ",
    "spaces": " ",
    "sp": " ",
    "zwj": "",
    "shy": "",
    "ndash": "–",
    "en dash": "–",
    "mdash": "—",
    "em dash": "—",
    "snd": " – ",
    "snds": " – ",
    "spnd": " – ",
    "spaced ndash": " – ",
    "mdashb": "—",
    "·": " · ",
    "•": " · ",
    "bullet": " · ",
    "colon": ":",
    "pipe": "|",
    "times": "×",
    "minus": "−",
    "pound sign": "£",
}
PREFIXES = ("lang-", "script/")
TIME_DEPENDENT = (  # or dependent on prices or on other pages
    "birth date and age|bda|birth-date and age|birth year and age|start date and age|age in years"
    "|age in days|age in months|age in years and days|age as of date|time ago|time interval"
    "|years ago|currentyear|current year|today|inflation|inflation-year|formatprice|population of"
    "|metadata population|to usd"
)
NOT_COMPUTABLE = frozenset(TIME_DEPENDENT.split("|"))
SHIPS = frozenset({"uss", "hms", "hmas", "hmcs", "ss", "ms", "mv", "rms", "ins", "usat", "uscgc"})
RANGE_WORDS = {
    "to": " to ",
    "-": "–",
    "–": "–",
    "and": " and ",
    "or": " or ",
    "by": " by ",
    "x": " × ",
}
NUMBER = re.compile(r"[\d.,/+−-]+")


def has_text(name: str) -> bool:
    """Whether a template is words of a sentence."""
    is_named = name in RENDERERS or name in SYMBOLS or name in SHIPS or name in NOT_COMPUTABLE
    return is_named or name.startswith(PREFIXES)


def render_template(name: str, arguments: Arguments, named: dict[str, str]) -> str:
    """The text of a template within a sentence; "" for templates without text.

    Raises NotComputable if it has a text that cannot be computed.
    """
    if name in NOT_COMPUTABLE:
        raise NotComputable
    if render := RENDERERS.get(name):
        return render(arguments, named)
    if name in SYMBOLS:
        return SYMBOLS[name]
    if name in SHIPS:
        return " ".join([name.upper() if name != "ss" else "SS", *arguments[:1]])
    return _argument(arguments, 0) if name.startswith(PREFIXES) else ""


def _argument(arguments: Arguments, place: int) -> str:
    return arguments[place] if -len(arguments) <= place < len(arguments) else ""


def _first_argument(arguments: Arguments, named: dict[str, str]) -> str:
    return _argument(arguments, 0) or named.get("text", "") or named.get("1", "")


def _convert(arguments: Arguments, _: dict[str, str]) -> str:
    """{{convert|10|to|20|km|mi}} as "10 to 20 km": the first unit."""
    text = ""
    for argument in arguments:
        if argument in RANGE_WORDS:
            text += RANGE_WORDS[argument]
        elif NUMBER.fullmatch(argument):
            text += argument
        else:
            return f"{text} {argument}".strip()
    return text


def _as_of(arguments: Arguments, named: dict[str, str]) -> str:
    """{{as of|2014|5}} as "As of May 2014"."""
    start = "as of" if named.get("lc") or named.get("bare") else "As of"
    numbers = [a for a in arguments if a.isdigit()]
    month = MONTHS[int(numbers[1])] if len(numbers) > 1 and 0 < int(numbers[1]) < 13 else ""
    day = str(int(numbers[2])) if month and len(numbers) > 2 else ""
    text = named.get("alt") or " ".join(filter(None, [start, day, month, *numbers[:1]]))
    return text if numbers or named.get("alt") else ""


def _fraction(arguments: Arguments, _: dict[str, str]) -> str:
    """{{frac|2|1|3}} as "2 1/3", {{frac|3}} as "1/3"."""
    if len(arguments) < 2:
        return f"1/{arguments[0]}" if arguments else ""
    return " ".join([*arguments[:-2], "/".join(arguments[-2:])])


def _ordinal(arguments: Arguments, _: dict[str, str]) -> str:
    """{{ordinal|22}} as "22nd"."""
    number = _argument(arguments, 0)
    if not number.isdigit():
        raise NotComputable
    is_teen = number[-2:-1] == "1"
    return number + ("th" if is_teen else {"1": "st", "2": "nd", "3": "rd"}.get(number[-1], "th"))


def _percentage(arguments: Arguments, _: dict[str, str]) -> str:
    """{{percentage|1|3|1}} as "33.3%", by default without decimals."""
    if len(arguments) < 2:
        raise NotComputable
    part, whole, places = (_to_number(argument) for argument in [*arguments, "0"][:3])
    if not whole or places.denominator != 1 or not 0 <= places <= 10:
        raise NotComputable
    return f"{format_decimal(round_half_up(100 * part / whole, int(places)))}%"


def _to_number(text: str) -> Fraction:
    try:
        return Fraction(text.replace(",", ""))
    except (ValueError, ZeroDivisionError):
        raise NotComputable from None


def _abbreviated(sign: str) -> Callable[[Arguments, dict[str, str]], str]:
    """{{floruit|1520|1540}} as "fl. 1520–1540"."""
    return lambda arguments, _: f"{sign} " + "–".join(arguments[:2])


def _value(arguments: Arguments, named: dict[str, str]) -> str:
    """{{val|6.241|e=18|u=C}} as "6.241×10^18 C"."""
    power = f"×10^{named['e']}" if named.get("e") else ""
    unit = named.get("u") or named.get("ul") or ""
    return f"{_argument(arguments, 0)}{power} {unit}".strip()


def _currency(sign: str) -> Callable[[Arguments, dict[str, str]], str]:
    return lambda arguments, _: sign + _argument(arguments, 0)


RENDERERS: dict[str, Callable[[Arguments, dict[str, str]], str]] = {
    **dict.fromkeys(SHOW_FIRST.split("|"), _first_argument),
    **dict.fromkeys(SHOW_SECOND.split("|"), lambda arguments, named: _argument(arguments, 1)),
    **dict.fromkeys(SHOW_LAST.split("|"), lambda arguments, named: _argument(arguments, -1)),
    **dict.fromkeys(("convert", "cvt"), _convert),
    **dict.fromkeys(("as of", "asof"), _as_of),
    **dict.fromkeys(("circa", "c.", "ca.", "c"), _abbreviated("c.")),
    **dict.fromkeys(("floruit", "fl.", "fl"), _abbreviated("fl.")),
    **dict.fromkeys(("reign", "r."), _abbreviated("r.")),
    **dict.fromkeys(("ordinal", "ord"), _ordinal),
    **dict.fromkeys(("percentage", "percent", "pct"), _percentage),
    **dict.fromkeys(DATES.split("|"), render_date),
    **dict.fromkeys(("death date and age", "dda"), render_death),
    "age": render_age,
    **dict.fromkeys(("frac", "fraction", "sfrac"), _fraction),
    "chem": lambda arguments, _: "".join(arguments),
    "val": _value,
    "e": lambda arguments, _: f"×10^{_argument(arguments, 0)}",
    "us$": _currency("US$"),
    "usd": _currency("US$"),
    "gbp": _currency("£"),
    "£": _currency("£"),
    "eur": _currency("€"),
    "€": _currency("€"),
    "a$": _currency("A$"),
    "inr": _currency("₹"),
}
