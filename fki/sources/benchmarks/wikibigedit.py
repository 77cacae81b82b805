"""WikiBigEdit (Thede et al., 2025, arXiv 2503.05683): Wikidata's changes of 2024 in eight steps.

A file `wiki_big_edit_20240201_20240220.json` is a step. Its rows have `update` (the question),
`ans`, `rephrase`, `personas` (the question as a persona would ask it), `loc` and `loc_ans` (a
question that must keep its answer), `mhop` and `mhop_ans` (two hops, in a part of the rows),
`subject`, and `tag` (new or update). The previous answer of an update is not in the files.

Checked against the card of lukasthede/WikiBigEdit (f1371d7) and EasyEdit's
`dataset/wikibigedit.py` (1e31aaa).
"""

import re
from typing import Any

from fki.core.errors import DataError
from fki.data.known_datasets import KNOWN_DATASETS
from fki.data.row_files import read_table
from fki.sources.benchmarks.add_edits import RULE, add_edits, usable_edits
from fki.sources.benchmarks.base import Benchmark, BenchmarkCollector, text_at
from fki.sources.benchmarks.consistent_edits import Edit, Inferred
from fki.sources.benchmarks.knowedit import flat_texts

STEP = re.compile(r"(\d{4})(\d\d)(\d\d)_(\d{4})(\d\d)(\d\d)")


def read_wikibigedit(collector: BenchmarkCollector) -> None:
    """Add the edits of all steps, each dated the last day of its step."""
    edits: list[Edit] = []
    for file in collector.find_files("wiki_big_edit_*.json*", "*_????????_????????.json*"):
        days = STEP.search(file.name)
        if days is None:
            raise DataError(
                f"The name of {file.name} has no dates.",
                hint="A step is named wiki_big_edit_20240201_20240220.json.",
            )
        date = "-".join(days.groups()[3:])
        for number, row in enumerate(read_table(file, require=["update", "ans"])):
            edit = _parse_edit(collector, row, f"{days[0]}-{number}", date)
            edits += usable_edits(collector, edit)
    add_edits(collector, edits, "locality")
    collector.notes += [
        "An edit has the date of the last day of its step: with `--version day`, each step is a "
        "period.",
        "`paraphrase` has `rephrase`, `paraphrase_personas` `personas`, and `multi_hop` `mhop`.",
        "The authors report token accuracy under teacher forcing (`token_accuracy`).",
        RULE.format(fact="the same question"),
    ]


def _parse_edit(collector: BenchmarkCollector, row: dict[str, Any], case: str, date: str) -> Edit:
    targets = flat_texts(collector, "stream", row.get("ans"))
    asked, hop = text_at(row, "loc"), text_at(row, "mhop")
    kept = flat_texts(collector, "probes/locality", row.get("loc_ans"))
    personas = flat_texts(collector, "probes/paraphrase_personas", row.get("personas"))
    hops = flat_texts(collector, "probes/multi_hop", row.get("mhop_ans"))
    return Edit(
        text_at(row, "update"),
        next(iter(targets), ""),
        (),
        text_at(row, "subject"),
        text_at(row, "tag"),
        case,
        rewordings=tuple(flat_texts(collector, "probes/paraphrase", row.get("rephrase"))),
        kept=((asked, *kept),) if asked else (),
        aliases=tuple(targets[1:]),
        other_rewordings=tuple(("paraphrase_personas", text) for text in personas),
        multi_hop=(Inferred(hop, tuple(hops)),) if hop and hops else (),
        date=date,
    )


WIKIBIGEDIT = Benchmark(
    KNOWN_DATASETS["wikibigedit"],
    "Apache-2.0, of its card and its repository; its facts are Wikidata's, which are CC0",
    "",
    read_wikibigedit,
    patterns=("wiki_big_edit_*.json",),
)
