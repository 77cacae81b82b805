"""Render the templates that are words of a sentence; all other templates are removed.

Without them a sentence loses its numbers ("a range of {{convert|1300|mi|km}}") or its dates
("{{as of|2014}}"). These are the most common templates in the running text of the English
Wikipedia.
"""

import re
from collections.abc import Callable

Arguments = list[str]  # positional arguments as plain text

SHOW_FIRST = (  # templates that show their first argument
    "nowrap|nobr|small|smaller|big|large|larger|sc|smallcaps|angbr|angle bracket|linktext|nihongo"
    "|ill|interlanguage link|abbr|tooltip|sic|quote|blockquote|cquote|quotation|bq|format price|nq"
    "|em|strong|keypress|vanchor|visible anchor|music|not a typo|as written|nastaliq|formatnum|gaps"
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
    return name in RENDERERS or name in SYMBOLS or name in SHIPS or name.startswith(PREFIXES)


def render_template(name: str, arguments: Arguments, named: dict[str, str]) -> str:
    """The text of a template within a sentence; "" for templates without text."""
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


MONTHS = (  # `calendar` has those of the locale
    *("", "January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)


def _fraction(arguments: Arguments, _: dict[str, str]) -> str:
    """{{frac|2|1|3}} as "2 1/3", {{frac|3}} as "1/3"."""
    if len(arguments) < 2:
        return f"1/{arguments[0]}" if arguments else ""
    return " ".join([*arguments[:-2], "/".join(arguments[-2:])])


def _circa(arguments: Arguments, _: dict[str, str]) -> str:
    return "c. " + "–".join(arguments[:2])


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
    **dict.fromkeys(("circa", "c.", "ca.", "c"), _circa),
    **dict.fromkeys(("frac", "fraction", "sfrac"), _fraction),
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
