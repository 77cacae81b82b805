"""Success, magnitude, token accuracy and locality, against plain loops over whole texts."""

import math
from statistics import fmean
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from fki.config.schema import Config
from fki.core.types import Prediction, Probe
from fki.evaluation.evaluator import Evaluator, mean_score
from fki.testing import toy_causal_tokenizer, toy_decoder, toy_model, toy_tokenizer

QUESTION = "The mayor of Avalon is ___."
RIGHT, WRONG = ("Ada Quill", "Bo"), ("Dorothy Gale-Baum of the West", "Lot", "Cy")
PAIRS = [(RIGHT[:1], WRONG[:1]), (RIGHT, WRONG), (RIGHT[1:], WRONG[1:]), (WRONG[:1], RIGHT)]


def probe(right: tuple[str, ...], wrong: tuple[str, ...]) -> Probe:
    return Probe("p", "base", QUESTION, right, distractors=wrong)


def token_nats(model: Any, tokenizer: Any, answer: str) -> tuple[list[float], list[bool]]:
    """Nats of the answer's own tokens one forward pass each, and whether each is the likeliest."""
    [source], [target] = (
        tokenizer.tokenize_sources([QUESTION]),
        tokenizer.tokenize_targets([answer]),
    )
    nats, hits = [], []
    for place, token in enumerate(target):
        before = target[:place]
        if model.config.is_encoder_decoder:
            ids = [model.config.decoder_start_token_id, *before]
            out = model(
                input_ids=torch.tensor([source]), decoder_input_ids=torch.tensor([ids])
            ).logits
        else:
            out = model(torch.tensor([[*source, *before]])).logits
        nats.append(-float(out[0, -1].log_softmax(-1)[token]))
        hits.append(int(out[0, -1].argmax()) == token)
    if model.config.is_encoder_decoder:  # <extra_id_0> ... <extra_id_1> </s>
        return nats[1:-2], hits[1:-2]
    return nats[:-1], hits[:-1]  # without the end token


@pytest.fixture(params=["t5", "gpt2", "llama"])
def model_and_tokenizer(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    if request.param == "t5":
        return toy_model().eval(), toy_tokenizer()
    return toy_decoder(request.param).eval(), toy_causal_tokenizer()


def predict(model: Any, tokenizer: Any, *probes: Probe) -> list[Prediction]:
    return Evaluator(tokenizer, Config(output_length=32), Accelerator(cpu=True)).predict(
        model, probes
    )


@pytest.mark.parametrize(("right", "wrong"), PAIRS)
@torch.inference_mode()
def test_success_and_magnitude_are_those_of_rome(
    model_and_tokenizer: tuple[Any, Any], right: tuple[str, ...], wrong: tuple[str, ...]
) -> None:
    model, tokenizer = model_and_tokenizer
    found = predict(model, tokenizer, probe(right, wrong))[0]
    ours, theirs = (
        max(math.exp(-fmean(token_nats(model, tokenizer, text)[0])) for text in texts)
        for texts in (right, wrong)
    )
    assert found.success == float(ours > theirs)
    assert found.magnitude == pytest.approx(ours - theirs, abs=1e-5)
    hits = token_nats(model, tokenizer, right[0])[1]
    assert found.token_accuracy == pytest.approx(fmean(hits))


def test_a_success_is_the_opposite_of_the_exchanged_one(
    model_and_tokenizer: tuple[Any, Any],
) -> None:
    one, other = predict(*model_and_tokenizer, probe(RIGHT, WRONG), probe(WRONG, RIGHT))
    assert {one.success, other.success} == {0.0, 1.0}
    assert one.magnitude == pytest.approx(-(other.magnitude or 0))


def test_both_likelihoods_are_kept(model_and_tokenizer: tuple[Any, Any]) -> None:
    plain, both = predict(*model_and_tokenizer, probe(WRONG[:1], ()), probe(RIGHT[:1], WRONG[:1]))
    assert both.distractor_log_likelihood == pytest.approx(plain.log_likelihood, abs=1e-4)
    assert plain.success is plain.magnitude is plain.distractor_log_likelihood is None


def test_distractors_change_nothing_else(model_and_tokenizer: tuple[Any, Any]) -> None:
    plain, both = predict(*model_and_tokenizer, probe(RIGHT, ()), probe(RIGHT, WRONG))
    for name in ("text", "em", "f1", "tokens", "likeliest"):
        assert getattr(plain, name) == getattr(both, name)
    assert both.log_likelihood == pytest.approx(plain.log_likelihood, abs=1e-4)


def test_a_mean_is_over_the_probes_that_have_the_score() -> None:
    rows = [
        Prediction("a", "x", 1.0, 1.0, 1.0, -1.0, success=1.0, magnitude=0.5, contains=1.0),
        Prediction("b", "x", 0.0, 0.0, 0.0, -1.0, success=0.0, magnitude=-0.25),
        Prediction("c", "x", 0.0, 0.0, 0.0, -1.0, same_answer=1.0, same_tokens=0.5),
    ]
    score = mean_score("new", "2024", rows)
    assert (score.success, score.magnitude, score.contrast_n) == (50.0, 12.5, 2)
    assert (score.same_answer, score.same_tokens, score.same_n) == (100.0, 50.0, 1)
    assert score.contains == pytest.approx(100 / 3)
    assert (score.old_em, score.old_n) == (None, 0)
