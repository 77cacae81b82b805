"""Format the dataset card; its counts are those of the rows."""

from collections import Counter
from collections.abc import Iterable

from wiki.relations import DATED, INVARIANT
from wiki.write import Row

Tables = dict[str, list[Row]]

TEXT = """---
license: cc-by-4.0
language:
- en
pretty_name: fki wiki (dated facts, 2023-2025)
task_categories:
- question-answering
size_categories:
- 10K<n<100K
configs:
- config_name: stream
  default: true
  data_files: stream.jsonl
- config_name: base
  data_files: base.jsonl
- config_name: invariant
  data_files: invariant.jsonl
dataset_info:
{features}
---

# `wiki`: dated facts, 2023-2025

Real facts with the dates on which they became true, for teaching a model what changes and
measuring what it forgets. A base model knows the world of {cutoff}; the stream tells it every
change of the chosen subjects and relations until {until}. Written by `scripts/build_wiki.py`: do
not edit by hand.

| file | rows | what |
|---|---|---|
| `base.jsonl` | {base:,} | dated facts true on {cutoff}, one row per subject and relation |
| `stream.jsonl` | {stream:,} | every change from 2023-01-01 to {until}, by date |
| `invariant.jsonl` | {invariant:,} | facts that do not change |
| `relations.json` | {relations:,} | label and wordings of each relation |

Digest of the four data files (SHA-256 over their sorted "name sha256" lines): `{digest}`

- **{new:,} changes are `new`** (the subject and relation were not known before; {new_share:.1f} %),
  **{updated:,} are `updated`** (the answer changed).
- **{kept:,} base facts stay true** until {until}; the other {lost:,} change within the stream.
- Periods with changes: {days:,} days, {months:,} months, {quarters:,} quarters.

## Columns

`subject`, `relation` (key of `relations.json`), `object`,
`start`, `end` (the first day on which it was no longer true; null: still true on {until}),
`precision` of `start` (`day`; `day~`: the day on which the source changed, up to weeks after the
event; `month`; `year`, in the base only), `source`, `subject_id` (Wikidata's where it begins with Q
and a number, else the source's). A wording has the slots `[X]` and `[Y]` of LAMA and ends in
`[Y].`. The first is for training; the second is only asked.

## Sources

| source | used for | licence |
|---|---|---|
| [F1DB](https://github.com/f1db/f1db) | Formula One | CC BY 4.0 |
| CIA World Factbook | heads of state and government, diplomats | public domain |
| [congress-legislators][1] | seats, parties, leaders, committees | CC0 |
| [international_results][2] | men's national football teams | CC0 |
| [endoflife.date][3] | released versions | MIT |
| [index-constitution][4] | members of stock indices | MIT |
| [ParaRel][5], its T-REx part | invariant facts | MIT |

**Contains data from F1DB (https://github.com/f1db/f1db), licensed under CC BY 4.0; a selection,
reworded.** The MIT parts come under the notice at the end of this card. The whole is offered
under CC BY 4.0.

[1]: https://github.com/unitedstates/congress-legislators
[2]: https://github.com/martj42/international_results
[3]: https://github.com/endoflife-date/endoflife.date
[4]: https://github.com/unliftedq/index-constitution
[5]: https://github.com/yanaiela/pararel

## How it was selected

Whole timelines were chosen, never single rows: for a subject and relation in the stream, every
change of 2023-2025 that the source knows is there, and its state at the cutoff is in the base.

- Where a relation has more subjects than it needs, a SHA-256 of relation and subject decides.
  Products have {least} to {most} releases within the stream, and are taken so that thin months
  fill up; national teams are followed in one relation each, so that no subject is above 1 % of
  the stream.
- Each match and each Grand Prix is a subject of its own, put together from the rows of both teams
  and of the podium; a match is kept only where both teams' rows agree. Matches and races before
  the cutoff are base facts.
- A match's teams stand in alphabetical order, and its score in the order of the subject. Its last
  goalscorer is asked only where one side alone scored and the source names the scorer.
- Companies that were in two or three stock indices at once are left out: one fact, one answer.

## How it was cleaned

- Consecutive facts with one object were merged, and so were spellings that differ in accents
  only.
- Dropped as whole keys: two objects at once where one is meant, vacancy at the cutoff, an end
  without a successor, changes known to the year only, objects of more than 5 words or 48
  characters, prompts of more than 180 characters, an object within its subject or the reverse,
  two subjects with one label.
- From the Factbook's running text: keys with titles or left-overs in a name
  (ambassador-designate, president-elect, charge d'affaires, ...), diplomats listed for 15 days or
  less (corrections), diplomats said to serve unchanged since before 2020, and {stale} keys that
  are known to be wrong, stale or ambiguous (`scripts/wiki/stale.py`).
- Letters that T5's vocabulary lacks were written plainly (Raul Jimenez); the others kept their
  accents.

## Known limits

- `day~`: committee chairs and ranking members carry the day on which the list changed, up to
  weeks late.
- The Factbook's weekly text is the witness for heads of state and government and for diplomats:
  it may be late, it spells names in its own way, and it counts a charge d'affaires as chief of
  mission.
- Goalscorers are those of the competitive matches that the source covers; friendlies and own
  goals are not counted, so that the last goal of a match is the last one that was no own goal.
- Scores are those after extra time, without penalty shoot-outs.
- The latest version is the release that came last, be it of an older branch.
- Company and committee names are those in use when the source was read. Party labels (`P102`)
  have two answers only, stock indices three.
- Drivers and teams that left Formula One keep the last position they had.
- ParaRel's answers are single tokens of BERT, some of them coarse.

## Relations

| id | in the source | label | base | that stay | stream | share |
|---|---|---|---|---|---|---|
{dated}

Invariant: {undated}.

## Quarters

| quarter | changes | new | updated |
|---|---|---|---|
{by_quarter}

## Notice for the MIT parts

Copyright 2020 endoflife.date contributors. Copyright (c) 2021 Yanai Elazar (ParaRel). Copyright (c)
2026 index-constitution contributors.

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and
associated documentation files (the "Software"), to deal in the Software without restriction,
including without limitation the rights to use, copy, modify, merge, publish, distribute,
sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or
substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT
NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND
NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES
OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN
CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


COLUMNS = ("subject", "relation", "object", "start", "end", "precision", "source", "subject_id")


def _format_features() -> str:
    """The types of the columns, the same for all three tables in `datasets`."""
    kinds = {"start": "timestamp[s]", "end": "timestamp[s]"}
    columns = "".join(f"\n  - name: {c}\n    dtype: {kinds.get(c, 'string')}" for c in COLUMNS)
    configs = ("stream", "base", "invariant")
    return "\n".join(f"- config_name: {c}\n  features:{columns}" for c in configs)


def quarter(day: str) -> str:
    """The quarter of a day, such as 2023-Q1."""
    return f"{day[:4]}-Q{(int(day[5:7]) + 2) // 3}"


def key(row: Row) -> tuple[str, str]:
    """The key of a row: a later fact with the same key replaces it."""
    return str(row["subject"]), str(row["relation"])


def find_new(tables: Tables) -> list[bool]:
    """For each change: whether its key is new."""
    seen = {key(r) for r in tables["base.jsonl"]}
    new = []
    for row in tables["stream.jsonl"]:
        new.append(key(row) not in seen)
        seen.add(key(row))
    return new


def format_card(tables: Tables, digest: str, facts: dict[str, object]) -> str:
    """Format README.md; `facts` are the constants of the selection in its text."""
    base, stream = tables["base.jsonl"], tables["stream.jsonl"]
    new, changed = find_new(tables), {key(r) for r in stream}
    kept = [r for r in base if key(r) not in changed]
    used = {r["relation"] for rows in tables.values() for r in rows}
    return TEXT.format(
        base=len(base),
        stream=len(stream),
        invariant=len(tables["invariant.jsonl"]),
        relations=len(used),
        digest=digest,
        new=sum(new),
        updated=len(new) - sum(new),
        new_share=100 * sum(new) / len(new),
        kept=len(kept),
        lost=len(base) - len(kept),
        **{f"{n}s": len(set(p)) for n, p in _periods(stream).items()},
        dated=_format_dated(base, kept, stream),
        undated=_format_undated(tables["invariant.jsonl"]),
        by_quarter=_format_quarters(stream, new),
        features=_format_features(),
        **facts,
    )


def _periods(stream: list[Row]) -> dict[str, list[str]]:
    starts = [str(r["start"]) for r in stream]
    return {"day": starts, "month": [s[:7] for s in starts], "quarter": [*map(quarter, starts)]}


def _count(rows: Iterable[Row]) -> Counter[str]:
    return Counter(str(r["relation"]) for r in rows)


def _format_dated(base: list[Row], kept: list[Row], stream: list[Row]) -> str:
    counts = _count(base), _count(kept), _count(stream)
    lines = []
    for r in DATED:
        was, stays, comes = (c[r.id] for c in counts)
        origin = f"`{r.source_id}` {r.source_label}" if r.source_id else "derived"
        lines.append(
            f"| `{r.id}` | {origin} | {r.label} | {was} | {stays} | {comes} "
            f"| {100 * comes / len(stream):.1f} % |"
        )
    return "\n".join(lines)


def _format_undated(rows: list[Row]) -> str:
    count = _count(rows)
    return ", ".join(f"`{r}` {INVARIANT[r][0]} ({count[r]})" for r in INVARIANT)


def _format_quarters(stream: list[Row], new: list[bool]) -> str:
    quarters = _periods(stream)["quarter"]
    total, fresh = Counter(quarters), Counter(q for q, n in zip(quarters, new, strict=True) if n)
    lines = (f"| {q} | {n} | {fresh[q]} | {n - fresh[q]} |" for q, n in sorted(total.items()))
    return "\n".join(lines)
