"""Generates docs/relations.md, the page of the relations of Wikidata.

python scripts/relations.py
"""

from collections.abc import Iterable
from pathlib import Path

from fki.core.types import Fact
from fki.sources.wikidata.relations import ALWAYS, Relation, load_relations

PAGE = Path(__file__).resolve().parents[1] / "docs" / "relations.md"
HEAD = """# Relations of Wikidata

`fki download wiki --from wikidata` and `--from dump` build facts from the dated statements of the
relations on this page: {dated} relations whose objects change, and {kept} relations that never
change for a subject. The latter measure retention. [X] stands for the subject, [Y] for the object.
The first wording of a relation is used in training and ends in its object. With the setting
`wordings` above 1, training also uses the fourth to the sixth, in turn. The second and the third
wording are used only in evaluation. In the tables, they stand in the column on the right.

The update rule of a relation describes how a later statement affects an earlier one:

| update rule | meaning | relations |
|---|---|---|
| one | a later object replaces the earlier object | {one} |
| several | several objects may be valid at once, each from its start to its end | {several} |
| latest | the most recent object, by its day or else its start, ended or not | {latest} |
| always | the object never changes for a subject | {always} |

A label does not show whether it needs an article, so no slot has an article before it. Numbers and
labels are [Wikidata's](https://www.wikidata.org/wiki/Wikidata:List_of_properties) (CC0); the
wordings are fki's own. `python scripts/relations.py` generates this page.
"""


def format_page() -> str:
    """Format the whole page, as Markdown."""
    relations = load_relations().values()
    rules = [relation.update_rule for relation in relations]
    numbers = {rule: rules.count(rule) for rule in ("one", "several", "latest", ALWAYS)}
    parts = [
        HEAD.format(dated=len(rules) - numbers[ALWAYS], kept=numbers[ALWAYS], **numbers),
        "## Relations that change\n",
        _format_table(relation for relation in relations if relation.update_rule != ALWAYS),
        "## Relations that never change\n",
        _format_table(relation for relation in relations if relation.update_rule == ALWAYS),
    ]
    return "\n".join(parts)


def _format_table(relations: Iterable[Relation]) -> str:
    lines = [
        "| property | label | update rule | for training | for evaluation |",
        "|---|---|---|---|---|",
    ]
    for relation in relations:
        link = f"[{relation.id}](https://www.wikidata.org/wiki/Property:{relation.id})"
        fact = Fact("", relation.id, (), relation.wordings)
        wordings = ("<br>".join(w) for w in (fact.taught_wordings, fact.held_out_wordings))
        cells = (link, relation.label, relation.update_rule, *wordings)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(format_page(), encoding="utf-8")
