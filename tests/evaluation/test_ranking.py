"""P@1 and P@10 are the ranks that a plain loop over all candidates finds."""

from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch

from fki.config.schema import Config
from fki.core.errors import DataError
from fki.core.types import Prediction, Probe, ProbeSet
from fki.evaluation.evaluator import mean_score
from fki.evaluation.ranking import Candidates, find_candidates, rank_of
from tests.evaluation.test_answer_scores import QUESTION, model_and_tokenizer, predict, token_nats

__all__ = ["model_and_tokenizer"]
WORDS = ("a", "s", "of", "Ada Quill", "Bo", "Cy", "Lot", "Eve", "Gus", "Hal", "Ida", "the West")
ANSWERS = [("Bo",), ("Cy", "Lot"), ("a",), ("Dee of the Dale",), ("s", "Hal")]


def fact(number: int, answers: tuple[str, ...], relation: str = "leads") -> Probe:
    return Probe(f"p{number}", "base", QUESTION, answers, relation=relation)


@pytest.fixture
def probes() -> list[Probe]:
    found = Candidates(WORDS, {})
    return [found.add_to(fact(i, answers)) for i, answers in enumerate(ANSWERS)]


@torch.inference_mode()
def test_ranks_equal_those_of_one_pass_for_each_token_of_each_candidate(
    model_and_tokenizer: tuple[Any, Any],
    probes: list[Probe],
) -> None:
    model, tokenizer = model_and_tokenizer
    texts = {text for probe in probes for text in (*probe.answers, *probe.candidates)}
    scores = {text: -fmean(token_nats(model, tokenizer, text)[0]) for text in texts}
    sizes = {len(token_nats(model, tokenizer, text)[0]) for text in WORDS}
    assert 1 in sizes and max(sizes) > 1  # with and without a pass of its own
    ranks = []
    for probe, found in zip(probes, predict(model, tokenizer, *probes), strict=True):
        right = max(scores[text] for text in probe.answers)
        wrong = [scores[text] for text in WORDS if text not in probe.answers]
        ranks.append(1 + sum(score >= right for score in wrong))
        assert found.precision_at_1 == float(ranks[-1] == 1)
        assert found.precision_at_10 == float(ranks[-1] <= 10)
    assert len(set(ranks)) > 2


def test_without_candidates_nothing_else_changes(
    model_and_tokenizer: tuple[Any, Any],
    probes: list[Probe],
) -> None:
    plain = [fact(i, answers) for i, answers in enumerate(ANSWERS)]
    both = zip(
        predict(*model_and_tokenizer, *plain), predict(*model_and_tokenizer, *probes), strict=True
    )
    for without, ranked in both:
        assert without.precision_at_1 is None and ranked.precision_at_1 is not None
        for name in ("text", "em", "likeliest", "success", "log_likelihood"):
            assert getattr(without, name) == getattr(ranked, name)


def test_other_right_answers_are_not_ranked_and_an_equal_likelihood_is_no_hit() -> None:
    probe = Candidates((), {"leads": ("Bo", "Cy", "Ada  Quill", "Lot")}).add_to(
        fact(0, ("Ada Quill", "Cy"))
    )
    assert probe.candidates == ("Bo", "Lot")
    assert [rank_of(-1.0, others) for others in ([], [-1.0], [-0.5, -2.0], [-0.5] * 9)] == [
        *(1, 2, 2, 10)
    ]


def test_candidates_are_the_answers_of_the_relation_in_the_whole_set() -> None:
    facts = [fact(0, ("Bo", "Cy")), fact(1, ("Lot",)), fact(2, ("Rome",), "born"), fact(3, ("Bo",))]
    probe_set = ProbeSet.of("lama_trex", "keep", facts)
    found = find_candidates(probe_set, Config())
    assert found is not None and found.by_relation == {
        "leads": ("Bo", "Cy", "Lot"),
        "born": ("Rome",),
    }
    assert find_candidates(ProbeSet.of("new", "learn", facts), Config()) is None
    assert find_candidates(ProbeSet.of("new", "learn", facts), Config(ranked_sets="x, new"))
    assert find_candidates(probe_set, Config(ranked_sets="")) is None


def test_a_file_has_the_candidates_of_all_relations(tmp_path: Path) -> None:
    file = tmp_path / "words.txt"
    file.write_text("Bo\n\nCy \nBo\n", encoding="utf-8")
    probe_set, config = ProbeSet.of("lama", "keep", []), Config(ranked_among=str(file))
    found = find_candidates(probe_set, config)
    assert found is not None and found.add_to(fact(0, ("Cy",), "any")).candidates == ("Bo",)
    file.write_text(" \n", encoding="utf-8")
    with pytest.raises(DataError, match="has no candidates"):
        find_candidates(probe_set, config)
    with pytest.raises(DataError, match="cannot be read"):
        find_candidates(probe_set, Config(ranked_among=str(tmp_path / "none.txt")))


def test_the_mean_over_relations_weighs_a_small_relation_as_a_large_one() -> None:
    hits = {"a": [1, 1, 0, 1], "b": [0], "": [1]}
    rows = [(name, float(hit)) for name, found in hits.items() for hit in found]
    predictions = [
        Prediction(str(i), "x", em=1 - hit, f1=0, accuracy=0, log_likelihood=-1)
        if i == 1  # not ranked
        else Prediction(*(str(i), "x", 1 - hit, 0, 0, -1), precision_at_1=hit, precision_at_10=1.0)
        for i, (_, hit) in enumerate(rows)
    ]
    probes = [fact(i, ("x",), name) for i, (name, _) in enumerate(rows)]
    score = mean_score("lama_trex", "base", predictions, probes=probes)
    assert (score.ranked_n, score.ranked_n_by_relation) == (5, 2)
    assert score.precision_at_1 == pytest.approx(100 * 3 / 5)
    assert score.precision_at_1_by_relation == pytest.approx(100 * fmean([2 / 3, 0]))
    assert score.em_by_relation == pytest.approx(100 * fmean([1 / 3, 1]))
    assert score.precision_at_10_by_relation == 100.0
