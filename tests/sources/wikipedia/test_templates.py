"""Templates that are words of a sentence are rendered, all others are removed."""

import pytest

from fki.sources.wikipedia.parser_functions import NotComputable
from fki.sources.wikipedia.templates import has_text, render_template


@pytest.mark.parametrize(
    ("name", "arguments", "named", "text"),
    [
        ("nowrap", ["10 km"], {}, "10 km"),
        ("nowrap", [], {"1": "10 km"}, "10 km"),
        ("quote", [], {"text": "Go."}, "Go."),
        ("lang", ["la", "Avalonia"], {}, "Avalonia"),
        ("lang-la", ["Avalonia"], {}, "Avalonia"),
        ("transl", ["ru", "ISO", "Avalon"], {}, "Avalon"),
        ("convert", ["1300", "mi", "km"], {}, "1300 mi"),
        ("convert", ["10", "to", "20", "km"], {}, "10 to 20 km"),
        ("convert", ["10", "by", "20"], {}, "10 by 20"),
        ("as of", ["2014", "5"], {}, "As of May 2014"),
        ("as of", ["2014", "5", "03"], {"lc": "y"}, "as of 3 May 2014"),
        ("as of", ["2014"], {"alt": "In 2014"}, "In 2014"),
        ("as of", [], {}, ""),
        ("frac", ["3"], {}, "1/3"),
        ("frac", ["2", "1", "3"], {}, "2 1/3"),
        ("circa", ["1200", "1250"], {}, "c. 1200–1250"),
        ("val", ["6.241"], {"e": "18", "u": "C"}, "6.241×10^18 C"),
        ("ordinal", ["111"], {}, "111th"),
        ("ordinal", ["3"], {}, "3rd"),
        ("percentage", ["1", "3"], {}, "33%"),
        ("percent", ["1", "3", "1"], {}, "33.3%"),
        ("reign", ["1000", "1010"], {}, "r. 1000–1010"),
        ("chem", ["H", "2", "O"], {}, "H2O"),
        ("us$", ["5"], {}, "US$5"),
        ("ndash", [], {}, "–"),
        ("uss", ["Hornet"], {}, "USS Hornet"),
    ],
)
def test_a_template_shows_its_words(
    name: str, arguments: list[str], named: dict[str, str], text: str
) -> None:
    assert has_text(name) and render_template(name, arguments, named) == text


@pytest.mark.parametrize("name", ["infobox", "citation needed", "coord", ""])
def test_any_other_template_has_no_text(name: str) -> None:
    assert not has_text(name) and render_template(name, ["x"], {}) == ""


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("ordinal", ["x"]), ("ordinal", []), ("percent", ["5"]), ("percent", ["5", "x"]),
     ("age in years", ["1970"]), ("birth date and age", ["1970", "5", "3"])],
)  # fmt: skip
def test_words_that_cannot_be_computed_are_an_error(name: str, arguments: list[str]) -> None:
    assert has_text(name)
    with pytest.raises(NotComputable):
        render_template(name, arguments, {})
