"""The claims of a dump that a dataset needs: those of some relations that affect a window."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fki.sources.wikidata.relations import Relation
from fki.sources.wikidata.statements import Claim, PartialDate, Window

PRECISION_CHARS = {"year": 4, "month": 7, "day": 10}  # leading characters of an ISO day


@dataclass(frozen=True, slots=True)
class Scope:
    """The claims to extract: those of some relations that affect a window."""

    window: Window
    update_rules: Mapping[str, str]  # by relation, such as "P6"; see `Relation`

    @classmethod
    def from_relations(cls, window: Window, relations: Iterable[Relation]) -> "Scope":
        """The scope of these relations in a window."""
        return cls(window, {relation.id: relation.update_rule for relation in relations})


def are_relevant(claims: Iterable[Claim], update_rule: str, window: Window) -> bool:
    """Whether any claim of one subject and relation changes in the window or holds on its eve.

    All claims of the relation are needed then, since the previous object is the old answer.
    Statements without a readable date alone are not relevant.
    """
    since, until = window.since.isoformat(), window.until.isoformat()
    for claim in claims:
        starts = [when.day for when in (claim.start, claim.point) if when]
        end = None if update_rule == "latest" else claim.end  # the latest counts until the next
        has_started = min(starts) < until if starts else end is not None
        if has_started and not _is_before(end, since):
            return True
    return False


def _is_before(end: PartialDate | None, since: str) -> bool:
    size = PRECISION_CHARS[end.precision] if end else 0
    return end is not None and end.day[:size] < since[:size]
