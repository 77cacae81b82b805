"""Print a synthetic Wikidata dump of any size, whose items have all fields of real items.

    python -m benchmarks.entities 1000 > dump.json

One entity per line between `[` and `]`, in the format described at
https://doc.wikimedia.org/Wikibase/master/php/docs_topics_json.html
Half of the items have few statements (like Wikidata's articles and genes), the others have dated
ones; every statement has its id, hashes and references. An item is determined by its number and the
seed.
"""

import hashlib
import json
import sys
from collections.abc import Iterator
from random import Random
from typing import Any

Json = dict[str, Any]
# fmt: off
LANGUAGES = ("en", "de", "fr", "es", "it", "nl", "pt", "ru", "ja", "zh", "ar", "pl", "sv", "uk",
             "cs", "ca", "fi", "hu", "ko", "tr", "he", "da", "nb", "fa", "eo", "vi", "id", "ro")
KINDS = ("scholarly article", "human", "city", "football club", "government agency", "film", "gene")
SYLLABLES = ("ka", "lo", "mi", "ren", "sta", "vor", "ul", "ba", "tei", "ni", "gra", "sol", "pen",
             "dar", "he", "mu", "zi", "cor", "wen", "ash")
# fmt: on
DATED = {"P6": 3, "P35": 2, "P39": 4, "P54": 6, "P108": 2, "P488": 1, "P286": 3, "P169": 2}
PLAIN = ("P31", "P17", "P131", "P106", "P21", "P19", "P27", "P361")
OUTSIDE = ("P356", "P698", "P214", "P227", "P244", "P646", "P2671", "P7859", "P1566", "P2002")


def dump_lines(items: int, seed: int = 0) -> Iterator[bytes]:
    """Yield the lines of a dump, with newlines."""
    yield b"[\n"
    for number in range(1, items + 1):
        end = ",\n" if number < items else "\n"
        text = json.dumps(item(number, items, seed), ensure_ascii=False, separators=(",", ":"))
        yield (text + end).encode()
    yield b"]\n"


def item(number: int, items: int, seed: int = 0) -> Json:
    """Make an item whose statements name items up to `items`."""
    draw = Random(f"{seed} {number}")
    is_poor = draw.random() < 0.5
    kind = KINDS[0] if is_poor else draw.choice(KINDS[1:])
    made = Maker(draw, f"Q{number}", items)
    claims: dict[str, list[Json]] = {}
    for name in draw.sample(PLAIN, 3 if is_poor else 6):
        claims[name] = [made.statement(name, made.random_item())]
    if is_poor:
        names = [made.name() for _ in range(draw.randint(2, 9))]
        claims["P2093"] = [
            made.statement("P2093", text(n), [made.ordinal(i)]) for i, n in enumerate(names)
        ]
        claims["P577"] = [made.statement("P577", made.time(draw.randint(1950, 2025)))]
    for name in () if is_poor else draw.sample(sorted(DATED), 3):
        claims[name] = made.terms(name, draw.randint(1, DATED[name]))
    for name in draw.sample(OUTSIDE, 4):
        claims[name] = [
            made.statement(name, text(f"{draw.getrandbits(36):09x}"), kind="external-id")
        ]
    spoken = draw.sample(LANGUAGES, 3 if is_poor else draw.randint(4, 16))
    label = made.name()
    called = {"mul": term("mul", label)} if draw.random() < 0.1 else {}
    if draw.random() < 0.9 and not called:
        called = {"en": term("en", label)}
    called |= {of: term(of, label) for of in spoken if of != "en"}
    return {
        "type": "item",
        "id": f"Q{number}",
        "labels": called,
        "descriptions": {of: term(of, f"{kind} ({of})") for of in LANGUAGES},
        "aliases": {of: [term(of, made.name())] for of in spoken[:3]},
        "claims": claims,
        "sitelinks": {
            f"{of}wiki": {"site": f"{of}wiki", "title": label, "badges": []}
            for of in ([] if is_poor else spoken)
        },
        "pageid": number + 100,
        "ns": 0,
        "title": f"Q{number}",
        "lastrevid": 2_000_000_000 + draw.getrandbits(28),
        "modified": f"2025-{draw.randint(1, 12):02}-{draw.randint(1, 28):02}T10:20:30Z",
    }  # fmt: skip


def term(language: str, value: str) -> Json:
    """A label, description or alias."""
    return {"language": language, "value": value}


def text(value: str) -> Json:
    """A text value."""
    return {"value": value, "type": "string"}


class Maker:
    """Makes the statements of one item."""

    def __init__(self, draw: Random, subject: str, items: int) -> None:
        self.draw, self.subject, self.items = draw, subject, items
        self.reference = self._reference()  # the same for most statements of an item

    def name(self) -> str:
        """Two capitalized words."""
        return " ".join("".join(self.draw.choices(SYLLABLES, k=3)).title() for _ in range(2))

    def random_item(self) -> Json:
        """A random item; low numbers are the most frequent, like countries and sports."""
        number = 1 + int(self.items * self.draw.random() ** 3)
        value = {"entity-type": "item", "numeric-id": number, "id": f"Q{number}"}
        return {"value": value, "type": "wikibase-entityid"}

    def time(self, year: int) -> Json:
        """A time in a year, with day, month or year precision."""
        precision = self.draw.choice([9, 10, 11, 11, 11])
        month = self.draw.randint(1, 12) if precision > 9 else 0
        day = self.draw.randint(1, 28) if precision > 10 else 0
        return {
            "value": {
                "time": f"+{year}-{month:02}-{day:02}T00:00:00Z",
                "timezone": 0,
                "before": 0,
                "after": 0,
                "precision": precision,
                "calendarmodel": "http://www.wikidata.org/entity/Q1985727",
            },
            "type": "time",
        }

    def ordinal(self, number: int) -> Json:
        """A qualifier with a position in a series."""
        return self.qualifier("P1545", text(str(number + 1)), "string")

    def qualifier(self, name: str, value: Json, kind: str = "time") -> Json:
        """A snak with its hash."""
        return {"snaktype": "value", "property": name, "hash": _hash(value), "datavalue": value,
                "datatype": kind}  # fmt: skip

    def statement(
        self, name: str, value: Json, qualifiers: list[Json] | None = None, kind: str = ""
    ) -> Json:
        """A statement with its references."""
        kind = kind or {"wikibase-entityid": "wikibase-item", "time": "time"}.get(
            value["type"], "string"
        )
        found: dict[str, list[Json]] = {}
        for snak in qualifiers or []:
            found.setdefault(snak["property"], []).append(snak)
        more = {"qualifiers": found, "qualifiers-order": [*found]} if found else {}
        snak = {"snaktype": "value", "property": name, "datavalue": value, "datatype": kind}
        guid = "-".join(self._hex(size).upper() for size in (8, 4, 4, 4, 12))
        rank = self.draw.choices(["normal", "preferred", "deprecated"], [18, 1, 1])[0]
        return {"mainsnak": snak, "type": "statement", **more, "id": f"{self.subject}${guid}",
                "rank": rank, "references": [self.reference]}  # fmt: skip

    def terms(self, name: str, count: int) -> list[Json]:
        """Successive statements; the last one may have no end."""
        year, made = self.draw.randint(1990, 2020), []
        for number in range(count):
            spans = [self.qualifier("P580", self.time(year))]
            year += self.draw.randint(0, 4)
            if number < count - 1 or self.draw.random() < 0.4:
                spans.append(self.qualifier("P582", self.time(year)))
            made.append(self.statement(name, self.random_item(), spans))
        return made

    def _reference(self) -> Json:
        snaks = {
            "P248": [self.qualifier("P248", self.random_item(), "wikibase-item")],
            "P854": [self.qualifier("P854", text(f"https://example.org/{self._hex(8)}"), "url")],
            "P813": [self.qualifier("P813", self.time(2021))],
        }
        return {"hash": self._hex(40), "snaks": snaks, "snaks-order": [*snaks]}

    def _hex(self, digits: int) -> str:
        return f"{self.draw.getrandbits(4 * digits):0{digits}x}"


def _hash(value: Json) -> str:
    """A hash of the content, as Wikibase computes."""
    return hashlib.sha1(repr(value).encode(), usedforsecurity=False).hexdigest()


if __name__ == "__main__":
    for line in dump_lines(int(sys.argv[1])):
        sys.stdout.buffer.write(line)
