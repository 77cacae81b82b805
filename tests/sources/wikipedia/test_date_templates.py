"""Dates and ages of templates read as in the English Wikipedia."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fki.sources.wikipedia.date_templates import render_age, render_date, render_death
from fki.sources.wikipedia.parser_functions import NotComputable


@pytest.mark.parametrize(
    ("arguments", "named", "text"),
    [
        (["2020"], {}, "2020"),
        (["2020", "5"], {}, "May 2020"),
        (["2020", "05", "03"], {}, "May 3, 2020"),
        (["2020", "5", "3"], {"df": "yes"}, "3 May 2020"),
        (["7 December 1941"], {}, "7 December 1941"),
        (["2020", "", ""], {}, "2020"),
    ],
)
def test_a_date_is_shown_as_precisely_as_it_is_given(
    arguments: list[str], named: dict[str, str], text: str
) -> None:
    assert render_date(arguments, named) == text


@pytest.mark.parametrize(
    "arguments", [[], ["2020", "13"], ["2020", "May", "3"], ["2020", "5", "3", "14"]]
)
def test_other_dates_cannot_be_computed(arguments: list[str]) -> None:
    with pytest.raises(NotComputable):
        render_date(arguments, {})


def test_an_age_needs_two_dates() -> None:
    assert render_death(["2020", "5", "3", "1970", "6", "1"], {}) == "May 3, 2020 (aged 49)"
    for arguments in (["1970", "5", "3"], ["1970", "2", "30", "2000", "1", "1"]):
        with pytest.raises(NotComputable):
            render_age(arguments, {})


@given(st.dates(date(1900, 1, 1), date(1960, 1, 1)), st.integers(0, 30_000))
def test_an_age_is_the_number_of_birthdays(birth: date, days: int) -> None:
    day = birth + timedelta(days=days)
    arguments = [str(n) for d in (birth, day) for n in (d.year, d.month, d.day)]
    birthdays = [
        year for year in range(birth.year + 1, day.year + 1)
        if (year, birth.month, birth.day) <= (day.year, day.month, day.day)
    ]  # fmt: skip
    assert render_age(arguments, {}) == str(len(birthdays))
