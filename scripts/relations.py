"""Write docs/relations.md, the page of the relations that fki asks Wikidata for.

python scripts/relations.py
"""

from collections.abc import Iterable
from pathlib import Path

from fki.sources.wikidata.relations import ALWAYS, Relation, load_relations

PAGE = Path(__file__).resolve().parents[1] / "docs" / "relations.md"
HEAD = """# The relations that fki asks Wikidata for

`fki` makes a dataset out of Wikidata's dated statements with the wordings below: {dated} relations
whose objects change, and {kept} that never change for a subject, which ask what a model has kept.
[X] stands for the subject, [Y] for the object. The first wording is trained on and ends in its
object; the second, in other words, is only asked.

How the statements of a relation follow each other:

| holds | meaning | relations |
|---|---|---|
| one | a later object takes the place of the one before | {one} |
| several | many objects may hold at once, each from its start to its end | {several} |
| latest | what came last, by its day or else its start, ended or not | {latest} |
| always | it never changes for a subject | {always} |

A label does not tell whether it wants an article, so no slot has one before it. Numbers and labels
are [Wikidata's](https://www.wikidata.org/wiki/Wikidata:List_of_properties) (CC0), the wordings are
fki's own. `python scripts/relations.py` writes this page.
"""


def page() -> str:
    """The whole page, as Markdown."""
    known = load_relations().values()
    holds = [relation.update_rule for relation in known]
    numbers = {word: holds.count(word) for word in ("one", "several", "latest", ALWAYS)}
    kept = numbers[ALWAYS]
    parts = [
        HEAD.format(dated=len(holds) - kept, kept=kept, **numbers),
        "## What changes\n",
        _table(relation for relation in known if relation.update_rule != ALWAYS),
        "## What never changes\n",
        _table(relation for relation in known if relation.update_rule == ALWAYS),
    ]
    return "\n".join(parts)


def _table(known: Iterable[Relation]) -> str:
    lines = ["| property | label | holds | trained on | only asked |", "|---|---|---|---|---|"]
    for relation in known:
        link = f"[{relation.id}](https://www.wikidata.org/wiki/Property:{relation.id})"
        cells = (link, relation.label, relation.update_rule, *relation.wordings)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
