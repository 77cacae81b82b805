"""Build the `wiki` dataset from dated facts: `python scripts/build_wiki.py --source FOLDER ...`.

The same sources give the same bytes. The script only needs the standard library; with a
SentencePiece model, it skips keys whose prompts or answers are too long for the model.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from wiki import choose, events, write
from wiki.card import format_card
from wiki.relations import DATED
from wiki.stale import STALE
from wiki.timeline import CUTOFF, UNTIL, Key, read_invariant, read_rows

VERSIONS = next(r for r in DATED if r.id == "P348")
MAX_PROMPT_PIECES, MAX_ANSWER_PIECES = 64, 24
SELECTION = {
    "cutoff": CUTOFF,
    "until": UNTIL,
    "stale": len(STALE),
    "least": choose.MIN_CHANGES,
    "most": choose.MAX_CHANGES,
}
Pieces = Callable[[str], list[int]]


def parse_options() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--source",
        type=Path,
        required=True,
        help="folder with facts_timeline.csv.gz and invariant_facts.csv.gz",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--tokenizer", type=Path, help="SentencePiece model to check lengths with")
    return parser.parse_args()


def select_dated_keys(folder: Path) -> list[Key]:
    """Select the keys of all dated relations; matches fill months with few other changes."""
    rows = read_rows(folder)
    keys_by_relation = {r: choose.keys_of(r, rows) for r in DATED if r.source_id}
    selected = [
        k
        for r, keys in keys_by_relation.items()
        if r != VERSIONS
        for k in choose.select_keys(r, keys)
    ]
    formula_one = [r for r in rows if r["source"] == "f1db"]
    selected += choose.select_events(events.build_races(formula_one))
    selected += choose.select_products(VERSIONS, keys_by_relation[VERSIONS], count_months(selected))
    football = [r for r in rows if r["source"] == "international_results"]
    return selected + choose.select_matches(events.build_matches(football), count_months(selected))


def count_months(keys: Iterable[Key]) -> Counter[str]:
    """Count the changes of each month."""
    return Counter(s.start[:7] for k in keys for s in k.changes)


def drop_long(keys: Iterable[Key], pieces: Pieces) -> list[Key]:
    """Drop the keys with a prompt or answer that the model would truncate."""
    wordings = {r.id: r.wordings for r in DATED}
    return [k for k in keys if _is_short(k, wordings[k.relation], pieces)]


def _is_short(key: Key, wordings: tuple[str, ...], pieces: Pieces) -> bool:
    prompts = [w.replace("[X]", key.subject).replace("[Y]", "<extra_id_0>") for w in wordings]
    answers = [o for s in key.states for o in s.objects]
    return all(len(pieces(p)) <= MAX_PROMPT_PIECES for p in prompts) and all(
        len(pieces(a)) <= MAX_ANSWER_PIECES for a in answers
    )


def load_pieces(model: Path) -> Pieces:
    """Load the tokenizer's encode function, without the end token."""
    from sentencepiece import SentencePieceProcessor

    return SentencePieceProcessor(model_file=str(model)).encode


def build(source: Path, output: Path, tokenizer: Path | None = None) -> None:
    """Write the six files of the dataset."""
    output.mkdir(parents=True, exist_ok=True)
    keys = select_dated_keys(source)
    if tokenizer:
        total, keys = len(keys), drop_long(keys, load_pieces(tokenizer))
        print(f"too long for the tokenizer: {total - len(keys)} keys")
    tables = {
        "base.jsonl": write.base_rows(keys),
        "invariant.jsonl": write.invariant_rows(choose.select_invariant(read_invariant(source))),
        "stream.jsonl": write.stream_rows(keys),
    }
    used = {str(r["relation"]) for rows in tables.values() for r in rows}
    for name, rows in tables.items():
        write.write_lines(output / name, rows)
        print(f"{name}: {len(rows):,} rows")
    write.write_json(output / "relations.json", write.wordings(used))
    text = format_card(tables, write.digest(output), SELECTION)
    (output / "README.md").write_text(text, encoding="utf-8", newline="\n")
    write.write_manifest(output)


if __name__ == "__main__":
    options = parse_options()
    build(options.source, options.output, options.tokenizer)
