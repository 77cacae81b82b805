"""Small Wikidata dumps in every compression, and a reference reader in plain JSON."""

import bz2
import gzip
import json
import lzma
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.entities import DATED, PLAIN, item
from fki.core import optional
from fki.sources.wikidata.merge_shards import DumpSubjects, open_subjects
from fki.sources.wikidata.scope import Scope
from fki.sources.wikidata.statements import Claim, PartialDate, Subject, Window, parse_time

UPDATE_RULES = dict.fromkeys(PLAIN, "always") | dict.fromkeys(DATED, "several") | {"P6": "latest"}
DUMP_SCOPE = Scope(Window(date(2015, 1, 1), date(2020, 1, 1)), UPDATE_RULES)
NARROW_SCOPE = replace(DUMP_SCOPE, update_rules={"P6": "latest"})
ITEMS = 120
Json = dict[str, Any]


def dump_text(lines: Sequence[str]) -> bytes:
    """Format a dump of these entities."""
    return ("[\n" + ",\n".join(lines) + "\n]\n").encode()


def entity_lines(items: int) -> list[str]:
    """Entities in the form of a dump's lines."""
    return [json.dumps(item(n, items), ensure_ascii=False) for n in range(1, items + 1)]


def odd_lines() -> list[str]:
    """Entities, one of them longer than a piece, and some lines that are not items."""
    lines = entity_lines(ITEMS)
    lines[40] = lines[40][:-1] + ', "more": "' + "x" * 200_000 + '"}'
    lines[50] = '{"type":"property","id":"P6","labels":{"en":{"language":"en","value":"head"}}}'
    lines[60] = lines[60][:-20]
    lines[70] = '{"entity":"Q70","redirect":"Q1"}'
    return lines


def zstd(content: bytes) -> bytes:
    """Compress with a checksum, like the command zstd."""
    zstandard = optional.import_zstd()
    return zstandard.compress(content, options={zstandard.CompressionParameter.checksum_flag: 1})


def pack_streams(pack: Callable[[bytes], bytes], content: bytes, size: int = 70_000) -> bytes:
    """Compress into several streams, like pbzip2, pigz and pzstd."""
    return b"".join(pack(content[at : at + size]) for at in range(0, len(content), size))


def pack_blocks(content: bytes) -> bytes:
    """Compress into one bzip2 stream with blocks of 100,000 bytes."""
    return bz2.compress(content, 1)


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "json": lambda content: content,
    "json.bz2": pack_blocks,
    "streams.bz2": lambda content: pack_streams(pack_blocks, content),
    "one.bz2": bz2.compress,
    "json.gz": gzip.compress,
    "members.gz": lambda content: pack_streams(gzip.compress, content),
    "json.xz": lzma.compress,
    "json.zst": zstd,
    "frames.zst": lambda content: pack_streams(zstd, content),
}


def brute_force(text: bytes, scope: Scope = DUMP_SCOPE) -> list[Subject]:
    """Read the subjects with plain JSON, everything in memory."""
    entities = []
    for line in text.decode().split("\n"):
        try:
            entities.append(json.loads(line.strip().rstrip(",")))
        except ValueError:
            continue
    items = [e for e in entities if e.get("type") == "item"]
    labels = {
        e["id"]: (e["labels"].get("en") or e["labels"].get("mul") or {"value": ""})["value"]
        for e in items
    }
    subjects = []
    for entity in items:
        statements = entity["claims"].items()
        keys = {p: [*claims_of(p, own, labels)] for p, own in statements if p in scope.update_rules}
        dated = [
            p
            for p, claims in keys.items()
            if scope.update_rules[p] != "always"
            and any(is_relevant(c, scope.update_rules[p], scope.window) for c in claims)
        ]
        always = [p for p in keys if dated and scope.update_rules[p] == "always"]
        if labels[entity["id"]] and dated:
            in_order = [*sorted(dated, key=property_number), *sorted(always, key=property_number)]
            claims = [claim for p in in_order for claim in keys[p]]
            subjects.append(Subject(entity["id"], labels[entity["id"]], claims))
    return subjects


def property_number(relation: str) -> int:
    return int(relation[1:])


def claims_of(relation: str, statements: list[Json], labels: dict[str, str]) -> Iterator[Claim]:
    for statement in statements:
        if statement["rank"] == "deprecated":
            continue
        named = statement["mainsnak"]["datavalue"]["value"]["id"]
        times = [time(statement.get("qualifiers", {}).get(p)) for p in ("P580", "P582", "P585")]
        is_preferred = statement["rank"] == "preferred"
        yield Claim(relation, named, labels.get(named, ""), *times, is_preferred=is_preferred)


def time(snaks: list[Json] | None) -> PartialDate | None:
    value = snaks[0]["datavalue"]["value"] if snaks else None
    return parse_time(value["time"], value["precision"]) if value else None


def is_relevant(claim: Claim, update_rule: str, window: Window) -> bool:
    length = {"year": 4, "month": 7, "day": 10}
    if not (claim.start or claim.end):
        return False
    first = claim.start.day if claim.start else ""
    end = claim.end.day[: length[claim.end.precision]] if claim.end else "9999"
    if update_rule == "latest":
        return first < str(window.until)
    return first < str(window.until) and end >= str(window.since)[: len(end)]


def read_subjects(
    places: Sequence[Path], work: Path, scope: Scope | None = DUMP_SCOPE, **options: Any
) -> tuple[list[Subject], DumpSubjects, bytes]:
    """Read all subjects. Returns them, their table, and the bytes of its file."""
    with open_subjects(places, work, scope, **options) as subjects:
        return list(subjects), subjects, subjects.file.read_bytes()


def files_in(folder: Path) -> list[Path]:
    """The files of a folder, except locks."""
    return [file for file in folder.iterdir() if file.suffix != ".lock"]
