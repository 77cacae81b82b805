"""Claims are relevant if they change in the window or hold on its eve."""

from datetime import date

import pytest

from fki.sources.wikidata.relations import load_relations
from fki.sources.wikidata.scope import Scope, are_relevant
from fki.sources.wikidata.statements import Claim, PartialDate, Window

WINDOW = Window(date(2023, 1, 1), date(2025, 1, 1))
INSIDE, BEFORE, AFTER = (PartialDate(f"{year}-06-01", "day") for year in (2024, 2020, 2026))


@pytest.mark.parametrize(
    ("claim", "update_rule", "expected"),
    [
        (Claim("P6", "Q1", "", start=INSIDE), "one", True),
        (Claim("P6", "Q1", "", start=BEFORE), "one", True),
        (Claim("P6", "Q1", "", start=AFTER), "one", False),
        (Claim("P6", "Q1", "", end=INSIDE), "one", True),
        (Claim("P6", "Q1", "", start=BEFORE, end=BEFORE), "one", False),
        (Claim("P6", "Q1", "", start=BEFORE, end=BEFORE), "latest", True),
        (Claim("P6", "Q1", "", point=INSIDE), "latest", True),
        (Claim("P6", "Q1", ""), "one", False),
        (Claim("P6", "Q1", "", end=PartialDate("2023-01-01", "year")), "several", True),
    ],
)
def test_a_claim_is_relevant_if_it_holds_on_the_eve_or_changes_within(
    claim: Claim, update_rule: str, expected: bool
) -> None:
    assert are_relevant([claim], update_rule, WINDOW) is expected


def test_a_scope_has_the_update_rule_of_each_relation() -> None:
    scope = Scope.from_relations(WINDOW, load_relations().values())
    assert scope.update_rules["P6"] == "one" and scope.update_rules["P19"] == "always"
