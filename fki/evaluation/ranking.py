"""Ranks of right answers among candidate answers, by likelihood: P@1 and P@10.

LAMA (Petroni et al., 2019) ranks the words of a fixed vocabulary at the blank, without the other
right answers of the question. Here the candidates are all answers of a probe's relation in its set
(the typed queries of mLAMA, Kassner et al., 2021), or those of a file. As in mLAMA, the score of a
candidate of several tokens is the mean log-likelihood of its own tokens. A question without a wrong
candidate is not ranked.

A candidate of a single token costs no pass of its own: the distribution after the question has all
of them. Others have a teacher-forced pass each.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from fki.config.schema import Config
from fki.core.errors import DataError
from fki.core.normalization import distinct_texts, normalize_text, normalized_set
from fki.core.paths import expand_path
from fki.core.types import Probe, ProbeSet
from fki.data.collator import ExampleTokenizer
from fki.modeling.architecture import architecture_of
from fki.modeling.decoding import EncodedInputs


class Candidates(NamedTuple):
    """The candidates of a probe set."""

    of_all: tuple[str, ...]  # of a file, for each relation
    by_relation: Mapping[str, tuple[str, ...]]

    def add_to(self, probe: Probe) -> Probe:
        """The probe with its candidates; none of them is a right answer of it."""
        right = normalized_set(probe.answers)
        found = self.of_all or self.by_relation.get(probe.relation, ())
        return replace(probe, candidates=tuple(t for t in found if normalize_text(t) not in right))


def find_candidates(probe_set: ProbeSet, config: Config) -> Candidates | None:
    """The candidates of a probe set; None if its answers are not ranked.

    Raises DataError if the file of candidates cannot be read, or is empty.
    """
    ranked = [name.strip() for name in config.ranked_sets.split(",") if name.strip()]
    if not any(probe_set.name == name or probe_set.name.startswith(f"{name}_") for name in ranked):
        return None
    if config.ranked_among:
        return Candidates(read_candidates(expand_path(config.ranked_among)), {})
    answers: dict[str, dict[str, None]] = defaultdict(dict)
    for probe in probe_set.of_periods(probe_set.by_period.keys()):
        answers[probe.relation] |= dict.fromkeys(probe.answers)
    return Candidates((), {name: distinct_texts(texts) for name, texts in answers.items()})


def read_candidates(file: Path) -> tuple[str, ...]:
    """The lines of a file. Raises DataError if it cannot be read, or is empty."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"ranked_among: {file} cannot be read: {error}.") from None
    found = distinct_texts(line.strip() for line in lines if line.strip())
    if not found:
        raise DataError(
            f"ranked_among: {file} has no candidates.", hint="Write one candidate in each line."
        )
    return found


def rank_of(best: float, others: Iterable[float]) -> int:
    """The rank of the likeliest right answer, from 1; a candidate that is as likely is before it.

    Args:
        best: of the right answers, the largest log-likelihood.
        others: the log-likelihoods of the candidates.
    """
    return 1 + sum(other >= best for other in others)


def score_candidates(
    model: Any,
    inputs: EncodedInputs,
    probes: Sequence[Probe],
    tokenizer: ExampleTokenizer,
) -> list[list[float]]:
    """The mean log-likelihood of each candidate's own tokens, in nats, for each probe.

    Candidates that the tokenizer cannot represent are left out.

    Args:
        inputs: the probes' questions, a row each.
    """
    texts = [*dict.fromkeys(text for probe in probes for text in probe.candidates)]
    targets = dict(zip(texts, tokenizer.tokenize_targets(texts), strict=True))
    known = {text: t for text, t in targets.items() if tokenizer.can_represent(t)}
    own = {text: tokenizer.answer_part(target) for text, target in known.items()}
    scores: list[list[float]] = [[] for _ in probes]
    single: dict[tuple[int, ...], list[tuple[int, int]]] = defaultdict(list)  # by what is before
    pairs: list[tuple[int, list[int]]] = []
    parts: list[slice] = []
    for row, probe in enumerate(probes):
        for text in (text for text in probe.candidates if text in known):
            target, part = known[text], own[text]
            if part.stop - part.start == 1:
                single[tuple(target[: part.start])].append((row, target[part.start]))
            else:
                pairs.append((row, target))
                parts.append(part)
    architecture = architecture_of(model)
    for before, places in single.items():
        log_probabilities = architecture.next_log_probabilities(model, inputs, [*before])
        rows, tokens = zip(*places, strict=True)
        for row, nats in zip(rows, log_probabilities[[*rows], [*tokens]].tolist(), strict=True):
            scores[row].append(nats)
    forced = architecture.score_targets(model, inputs, pairs, tokenizer)
    for (row, _), part, one in zip(pairs, parts, forced, strict=True):
        scores[row].append(-fmean(one.nats[part]))
    return scores
