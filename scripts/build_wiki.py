"""Builds the `wiki` dataset from the dated facts: `python scripts/build_wiki.py --source FOLDER`.

The same sources give the same bytes. Standard library only; a SentencePiece model, if given,
checks that no question or answer is too long for the model.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from wiki import choose, events, write
from wiki.card import card
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


def arguments() -> argparse.Namespace:
    """What was typed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--source",
        type=Path,
        required=True,
        help="folder with facts_timeline.csv.gz and invariant_facts.csv.gz",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--tokenizer", type=Path, help="a SentencePiece model to check lengths by")
    return parser.parse_args()


def dated_keys(folder: Path) -> list[Key]:
    """The chosen keys of all dated relations; matches fill up what the others leave of a month."""
    rows = read_rows(folder)
    found = {r: choose.keys_of(r, rows) for r in DATED if r.source_id}
    picked = [k for r, keys in found.items() if r != VERSIONS for k in choose.chosen(r, keys)]
    formula_one = [r for r in rows if r["source"] == "f1db"]
    picked += choose.good_events(events.races(formula_one))
    picked += choose.chosen_products(VERSIONS, found[VERSIONS], months(picked))
    football = [r for r in rows if r["source"] == "international_results"]
    return picked + choose.chosen_matches(events.matches(football), months(picked))


def months(keys: Iterable[Key]) -> Counter[str]:
    """How many changes each month has so far."""
    return Counter(s.start[:7] for k in keys for s in k.changes)


def short_enough(keys: Iterable[Key], pieces: Pieces) -> list[Key]:
    """The keys of which the model sees every question and answer whole."""
    wordings = {r.id: (r.trained, r.asked) for r in DATED}
    return [k for k in keys if _is_short(k, wordings[k.relation], pieces)]


def _is_short(key: Key, wordings: tuple[str, str], pieces: Pieces) -> bool:
    prompts = [w.replace("[X]", key.subject).replace("[Y]", "<extra_id_0>") for w in wordings]
    answers = [o for s in key.states for o in s.objects]
    return all(len(pieces(p)) <= MAX_PROMPT_PIECES for p in prompts) and all(
        len(pieces(a)) <= MAX_ANSWER_PIECES for a in answers
    )


def load_pieces(model: Path) -> Pieces:
    """The tokenizer's encode, without the end mark."""
    from sentencepiece import SentencePieceProcessor

    return SentencePieceProcessor(model_file=str(model)).encode


def build(source: Path, output: Path, tokenizer: Path | None = None) -> None:
    """Writes the six files of the dataset."""
    output.mkdir(parents=True, exist_ok=True)
    keys = dated_keys(source)
    if tokenizer:
        whole, keys = len(keys), short_enough(keys, load_pieces(tokenizer))
        print(f"too long for the tokenizer: {whole - len(keys)} keys")
    tables = {
        "base.jsonl": write.base_rows(keys),
        "invariant.jsonl": write.invariant_rows(choose.chosen_invariant(read_invariant(source))),
        "stream.jsonl": write.stream_rows(keys),
    }
    used = {str(r["relation"]) for rows in tables.values() for r in rows}
    for name, rows in tables.items():
        write.write_lines(output / name, rows)
        print(f"{name}: {len(rows):,} rows")
    write.write_json(output / "relations.json", write.wordings(used))
    text = card(tables, write.digest(output), SELECTION)
    (output / "README.md").write_text(text, encoding="utf-8", newline="\n")
    write.write_manifest(output)


if __name__ == "__main__":
    typed = arguments()
    build(typed.source, typed.output, typed.tokenizer)
