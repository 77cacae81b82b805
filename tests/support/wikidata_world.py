"""A small world of Wikidata statements, and the claims that a crawl of it returns."""

from datetime import date

from fki.sources.wikidata.relations import Relation
from fki.sources.wikidata.statements import (
    Subject,
    Window,
)
from tests.support.sparql_server import World

WINDOW = Window(date(2025, 10, 1), date(2026, 1, 1))
LEADER = Relation("P6", "head of government", "one", ("The head of [X] is [Y].", "[Y] leads [X]."))
TEAM = Relation("P54", "member of team", "several", ("[X] plays for [Y].", "[Y] has [X]."))
PRIZE = Relation("P166", "award", "latest", ("[X]'s last prize is [Y].", "[Y] went to [X]."))
BIRTH = Relation("P19", "place of birth", "always", ("[X] was born in [Y].", "[Y] bore [X]."))
RELATIONS = [LEADER, TEAM, PRIZE, BIRTH]


def small_world() -> World:
    """Avalon changes its leader in the window, Borduria does not; Cy moves and wins."""
    it = World()
    names = {
        "Q1": "Avalon",
        "Q2": "Borduria",
        "Q3": "Ada Quill",
        "Q4": "Bo Bridge",
        "Q5": "Cy Crane",
        "Q6": "Reds",
        "Q7": "Blues",
        "Q8": "Grand Prize",
        "Q9": "Town",
    }
    for item, label in names.items():
        it.add_label(item, label, "mul" if item == "Q3" else "en")
    it.add_label("Q4", "Bo der Brücke", "de")
    it.add_label("Q4", "Bo", "mul")
    it.add_statement("Q1", "P6", "Q3", start="2020-05-01", end="2025-11-03")
    it.add_statement("Q1", "P6", "Q4", start="2025-11-03", rank="Preferred")
    it.add_statement("Q1", "P6", "Q5", start="2025-11-04", rank="Deprecated")
    it.add_statement("Q2", "P6", "Q5", start="2025-03-05")
    it.add_statement("Q5", "P54", "Q6", start="2023-01-01", end="2025-12-01")
    it.add_statement("Q5", "P54", "Q7", start="2025-12-01")
    it.add_statement("Q5", "P166", "Q8", point="2025-10-15")
    it.add_statement("Q5", "P19", "Q9")
    return it


def by_label(subjects: list[Subject]) -> dict[tuple[str, str], list[tuple[str, str, str]]]:
    """Map (subject, relation) to the objects with their dates, by label."""
    by_key: dict[tuple[str, str], list[tuple[str, str, str]]] = {}
    for subject in subjects:
        for c in subject.claims:
            when = c.point or c.start
            row = (c.object_label, when.day if when else "", c.end.day if c.end else "")
            by_key.setdefault((subject.label, c.relation), []).append(row)
    return {key: sorted(rows) for key, rows in by_key.items()}


ALL = {
    ("Avalon", "P6"): [("Ada Quill", "2020-05-01", "2025-11-03"), ("Bo Bridge", "2025-11-03", "")],
    ("Borduria", "P6"): [("Cy Crane", "2025-03-05", "")],
    ("Cy Crane", "P54"): [("Blues", "2025-12-01", ""), ("Reds", "2023-01-01", "2025-12-01")],
    ("Cy Crane", "P166"): [("Grand Prize", "2025-10-15", "")],
    ("Cy Crane", "P19"): [("Town", "", "")],
}
