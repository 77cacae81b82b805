"""Matches and races as subjects, combined from the rows of their teams and drivers."""

import re
from collections import defaultdict
from datetime import date

from wiki.timeline import CUTOFF, UNTIL, Key, State, group_rows

FIRST_MATCH, FIRST_RACE = "2021", "2018"  # first years of the events in the base
TEAM = " men's national football team"
MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
RACE = {
    "race_winner": "P1346",
    "race_second": "x:f1_second-place",
    "race_third": "x:f1_third-place",
    "race_pole": "x:f1_pole-position",
    "race_fastest_lap": "x:f1_fastest-lap",
}
Rows = list[dict[str, str]]


def holder(rows: Rows, day: str) -> dict[str, str] | None:
    """The row that is valid on that day; None if there is not exactly one."""
    held = [r for r in rows if r["start"] <= day and (not r["end"] or r["end"] > day)]
    return held[0] if len(held) == 1 else None


def make_event(
    relation: str, subject: str, identity: str, source: str, day: str, answer: str
) -> Key:
    """Make a key with one state that starts on a day and never ends."""
    return Key(relation, subject, identity, source, (State((answer,), day, None, "day"),))


def build_races(rows: Rows) -> list[Key]:
    """Build the keys of each Grand Prix: podium, pole position and fastest lap.

    A race day is a day on which the winner, second, third or fastest lap changes; a row that is
    valid across it means that the same driver repeated.
    """
    by_prix = _by_subject(rows, set(RACE.values()))
    keys = []
    for identity, relations in sorted(by_prix.items()):
        name = next(iter(relations.values()))[0]["subject"]
        for day in _race_days(relations):
            year = day[:4]
            for relation, source_id in RACE.items():
                row = holder(relations[source_id], day)
                if row:
                    keys.append(
                        make_event(
                            relation,
                            f"{year} {name}",
                            f"{identity}/{year}",
                            "f1db",
                            day,
                            row["object"],
                        )
                    )
    return keys


def _race_days(relations: dict[str, Rows]) -> list[str]:
    """The race days; a year with several days is skipped."""
    days = {
        r["start"]
        for source_id, rows in relations.items()
        if source_id != RACE["race_pole"]
        for r in rows
        if FIRST_RACE <= r["start"] <= UNTIL
    }
    years = [d[:4] for d in days]
    return sorted(d for d in days if years.count(d[:4]) == 1)


def _by_subject(rows: Rows, relations: set[str]) -> dict[str, dict[str, Rows]]:
    found: dict[str, dict[str, Rows]] = defaultdict(lambda: defaultdict(list))
    for identity, group in group_rows(r for r in rows if r["relation_id"] in relations):
        for row in group:
            found[identity][row["relation_id"]].append(row)
    return found


def build_matches(rows: Rows) -> list[list[Key]]:
    """Build the keys of each match: city, score and, if only one team scored, last goalscorer.

    A match is kept if the rows of both teams agree: opponents, city and mirrored scores. The teams
    are in alphabetical order, since the source does not record the home team.
    """
    wanted = {"x:last_opponent", "x:last_result", "x:last_city", "x:last_scorer"}
    teams = {
        i: r for i, r in _by_subject(rows, wanted).items() if all(name in r for name in wanted)
    }
    shared = _shared_scorers(teams)
    names = {i: r["x:last_result"][0]["subject"].removesuffix(TEAM) for i, r in teams.items()}
    found = {}
    for one in sorted(teams, key=lambda i: names[i]):
        for day in sorted(_match_days(teams[one])):
            opponent = holder(teams[one]["x:last_opponent"], day)
            other = opponent["object_id"] if opponent else ""
            if other in teams and names[one] < names[other] and day in _match_days(teams[other]):
                keys = _match(names, teams, one, other, day, shared)
                if keys:
                    found[day, keys[0].subject] = keys
    return [found[k] for k in sorted(found)]


def _match_days(team: dict[str, Rows]) -> set[str]:
    return {r["start"] for rows in team.values() for r in rows if r["start"] >= FIRST_MATCH}


def _shared_scorers(teams: dict[str, dict[str, Rows]]) -> set[str]:
    """Scorers listed for two teams: namesakes, or own goals credited to the opponent."""
    sides = defaultdict(set)
    for identity, team in teams.items():
        for row in team["x:last_scorer"]:
            sides[row["object"]].add(identity)
    return {scorer for scorer, where in sides.items() if len(where) > 1}


def _match(
    names: dict[str, str],
    teams: dict[str, dict[str, Rows]],
    one: str,
    other: str,
    day: str,
    shared: set[str],
) -> list[Key]:
    """The keys of one match; [] if the rows of the teams disagree."""
    mine, theirs = teams[one], teams[other]
    back = holder(theirs["x:last_opponent"], day)
    score, mirrored = (_score(holder(t["x:last_result"], day)) for t in (mine, theirs))
    city, same_city = (holder(t["x:last_city"], day) for t in (mine, theirs))
    if not (back and score and mirrored and city and same_city):
        return []
    if (back["object_id"], mirrored, same_city["object"]) != (one, score[::-1], city["object"]):
        return []
    when = date.fromisoformat(day)
    subject = f"{names[one]} v {names[other]} on {when.day} {MONTHS[when.month - 1]} {when.year}"
    identity = f"match:{day}/{one.removeprefix('team:')}/{other.removeprefix('team:')}"
    answers = {"match_city": city["object"], "match_result": "-".join(map(str, score))}
    scorer = _only_scorer(mine if score[0] else theirs, score, day)
    if scorer and scorer not in shared:
        answers["match_scorer"] = scorer
    return [
        make_event(r, subject, identity, "international_results", day, a)
        for r, a in answers.items()
    ]


def _score(row: dict[str, str] | None) -> tuple[int, int] | None:
    """Goals for and against, from "won 2-1"."""
    found = row and re.fullmatch(r"(?:won|lost|drew) (\d+)-(\d+)", row["object"])
    return (int(found[1]), int(found[2])) if found else None


def _only_scorer(team: dict[str, Rows], score: tuple[int, int], day: str) -> str | None:
    """The last goalscorer, if only one team scored and the source names a scorer."""
    if min(score) or not max(score):
        return None
    return next((r["object"] for r in team["x:last_scorer"] if r["start"] == day), None)


def is_base(key: Key) -> bool:
    """Whether the event is before the stream."""
    return key.states[0].start <= CUTOFF
