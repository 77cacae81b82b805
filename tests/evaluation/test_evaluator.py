"""What a model answers does not depend on how it is asked, and nothing of an answer is told it."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from fki.config.schema import Config
from fki.core.types import Prediction, Probe
from fki.data.collator import ExampleTokenizer, TokenizedExample
from fki.evaluation.evaluator import Evaluator, mean_score
from fki.methods.base import Method
from fki.modeling.architecture import SEQ2SEQ, Seq2Seq
from fki.modeling.decoding import EncodedInputs
from fki.modeling.seq2seq import target_logits
from fki.testing import toy_model, toy_period, toy_tokenizer
from fki.training.trainer import Trainer

KNOWN = ("Ada Quill", "Bo", "Dorothy Gale-Baum")


def probe(id: str, source: str, *answers: str, old: tuple[str, ...] = ()) -> Probe:
    return Probe(id, "base", source, answers, old)


@pytest.fixture
def ask(accelerator: Accelerator) -> Callable[..., list[Prediction]]:
    """A function of a model, probes and settings: the predictions."""

    def predict(model: Any, probes: list[Probe], **settings: Any) -> list[Prediction]:
        config = Config.model_validate({"output_length": 12, **settings})
        return Evaluator(toy_tokenizer(), config, accelerator).predict(model, probes)

    return predict


@pytest.fixture(scope="module")
def memorised() -> Any:
    """A toy model that has learned the toy period by heart."""
    config = Config(optimizer="adamw", learning_rate=2e-2, num_train_epochs=200)
    method = Method(config)
    model: Any = method.prepare(toy_model())
    list(
        Trainer(model, method, config, toy_tokenizer(), Accelerator(cpu=True)).train_period(
            toy_period()
        )
    )
    return model.eval()


@pytest.fixture(scope="module")
def probes() -> list[Probe]:
    """Three that are known, and four that are not, of unlike lengths."""
    period = toy_period()
    known = [probe(e.id, e.source, a) for e, a in zip(period.examples, KNOWN, strict=True)]
    unknown = [
        probe("u1", "The mayor of Lyonesse is ___.", "Lot"),
        probe("u2", "___ is where nobody of any standing has ever been seen.", "Nowhere"),
        probe("u3", "Is it ___?", "Yes", "No", "Maybe tomorrow"),
        probe("wrong", period.examples[0].source, "Bo", old=("Ada Quill",)),
    ]
    return [known[0], unknown[0], known[1], *unknown[1:], known[2]]


def plainly(model: Any, source: str, **settings: Any) -> str:
    """The answer of `generate` to one source, with nothing clever."""
    (ids,) = toy_tokenizer().tokenize_sources([source])
    out = model.generate(
        input_ids=torch.tensor([ids]), max_new_tokens=12, do_sample=False, **settings
    )
    return toy_tokenizer().read_answer(out[0, 1:].tolist())


def test_what_was_memorised_is_answered(memorised: Any, probes: list[Probe], ask: Any) -> None:
    found = {p.id: p for p in ask(memorised, probes)}
    known = [found[e.id] for e in toy_period().examples]
    assert [p.text for p in known] == list(KNOWN)
    assert [(p.em, p.f1, p.accuracy) for p in known] == [(1.0, 1.0, 1.0)] * 3


@pytest.mark.parametrize("beams", [1, 2])
@pytest.mark.parametrize("is_trained", [True, False])
def test_every_answer_is_what_plain_generation_writes(
    is_trained: bool, beams: int, memorised: Any, probes: list[Probe], ask: Any
) -> None:
    model = memorised if is_trained else toy_model()
    expected = [plainly(model, p.source, num_beams=beams) for p in probes]
    assert [p.text for p in ask(model, probes, num_beams=beams)] == expected


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_the_batch_size_changes_no_prediction(
    size: int, memorised: Any, probes: list[Probe], ask: Any
) -> None:
    one_by_one = [ask(memorised, [p])[0] for p in probes]
    found = ask(memorised, probes, eval_batch_size=size)
    assert [(p.id, p.text, p.em) for p in found] == [(p.id, p.text, p.em) for p in one_by_one]
    for a, b in zip(found, one_by_one, strict=True):
        assert a.log_likelihood == pytest.approx(b.log_likelihood, abs=1e-4)


@pytest.mark.parametrize("beams", [1, 2])
def test_lengths_that_are_padded_as_on_a_gpu_change_no_prediction(
    beams: int, probes: list[Probe], ask: Any, accelerator: Accelerator
) -> None:
    plain = ask(toy_model(), probes, num_beams=beams)
    padded = ExampleTokenizer(toy_tokenizer().tokenizer, 64, 32, pad_multiple=8)
    config = Config(output_length=12, num_beams=beams)
    found = Evaluator(padded, config, accelerator).predict(toy_model(), probes)
    assert [(p.id, p.text) for p in found] == [(p.id, p.text) for p in plain]


def test_the_order_changes_no_prediction(memorised: Any, probes: list[Probe], ask: Any) -> None:
    forwards, backwards = ask(memorised, probes), ask(memorised, probes[::-1])[::-1]
    assert [p.id for p in forwards] == [p.id for p in probes]
    assert [(p.id, p.text) for p in forwards] == [(p.id, p.text) for p in backwards]


def test_no_probes_have_no_predictions(ask: Any) -> None:
    assert ask(toy_model(), []) == []


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[EncodedInputs, dict[str, Any]]]:
    """What decoding is given, beside model and tokenizer."""
    given: list[tuple[EncodedInputs, dict[str, Any]]] = []
    for name in ("decode", "beam_search"):
        original = getattr(SEQ2SEQ, name)

        def write(
            _: Any, model: Any, read: Any, words: Any, *, original: Any = original, **settings: Any
        ) -> Any:
            given.append((read, settings))
            return original(model, read, words, **settings)

        monkeypatch.setattr(Seq2Seq, name, write)
    return given


@pytest.mark.parametrize("beams", [1, 2])
def test_decoding_is_given_the_question_and_a_length_and_nothing_else(
    beams: int, decoded: Any, probes: list[Probe], ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # CKL passed decoder_attention_mask, which told the length of the right answer
    model, passed = toy_model(), []
    plain = model.generate
    monkeypatch.setattr(model, "generate", lambda **kw: (passed.append(kw), plain(**kw))[1])
    ask(model, probes, num_beams=beams)
    expected = {"length": 12} if beams == 1 else {"length": 12, "beams": beams}
    assert [settings for _, settings in decoded] == [expected]
    fixed = {"max_new_tokens": 12, "num_beams": beams, "do_sample": False}
    fixed["num_return_sequences"] = 1  # the best
    fixed["synced_gpus"] = False  # each process decodes its own probes
    for kwargs in passed:
        assert kwargs.keys() - fixed.keys() == {"encoder_outputs", "attention_mask"}
        assert kwargs.items() >= fixed.items()
    assert len(passed) == (beams > 1)


def test_what_decoding_is_given_does_not_depend_on_the_answers(
    decoded: Any, probes: list[Probe], ask: Any
) -> None:
    model = toy_model()
    ask(model, probes)
    first = [read for read, _ in decoded]
    decoded.clear()
    others = [probe(p.id, p.source, "Something much longer than before") for p in probes]
    ask(model, others)
    for a, (b, _) in zip(first, decoded, strict=True):
        assert torch.equal(a.states, b.states)
        assert torch.equal(a.mask, b.mask)


@pytest.mark.parametrize(("beams", "generated"), [(1, 4), (2, 7)])
def test_only_what_greedy_decoding_is_certain_to_write_is_not_generated(
    beams: int, generated: int, memorised: Any, probes: list[Probe], ask: Any, decoded: Any
) -> None:
    ask(memorised, probes, num_beams=beams)
    assert sum(len(read.mask) for read, _ in decoded) == generated


def margin_by_hand(model: Any, source: str, tokens: list[int]) -> float:
    """How near the second likeliest token came where it came nearest."""
    (ids,), margins = toy_tokenizer().tokenize_sources([source]), []
    for end in range(len(tokens)):
        written = torch.tensor([[0, *tokens[:end]]])
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids]), decoder_input_ids=written).logits[0, -1]
        first, second = logits.topk(2).values
        margins.append((first - second).item())
    return min(margins)


@pytest.mark.parametrize("is_trained", [True, False])
def test_the_margin_is_that_of_the_nearest_choice(
    is_trained: bool, memorised: Any, probes: list[Probe], ask: Any
) -> None:
    model = memorised if is_trained else toy_model()
    for p, found in zip(probes, ask(model, probes), strict=True):
        (ids,) = toy_tokenizer().tokenize_sources([p.source])
        out = model.generate(input_ids=torch.tensor([ids]), max_new_tokens=12, do_sample=False)
        expected = margin_by_hand(model, p.source, out[0, 1:].tolist())
        assert found.margin == pytest.approx(expected, abs=1e-4)


def test_a_near_tie_is_counted(probes: list[Probe], ask: Any) -> None:
    model: Any = toy_model(untied=True)
    assert mean_score("new", "x", ask(model, probes)).near_ties == 0
    with torch.no_grad():
        model.lm_head.weight[:] = model.lm_head.weight[:1]  # every token is as likely
    assert mean_score("new", "x", ask(model, probes)).near_ties == len(probes)
    assert {p.margin for p in ask(model, probes, num_beams=2)} == {None}


@pytest.mark.parametrize("tokens", [1, 30, 0])
def test_the_token_budget_changes_no_answer(
    tokens: int, memorised: Any, probes: list[Probe], ask: Any
) -> None:
    found = ask(memorised, probes, eval_batch_tokens=tokens)
    assert [p.text for p in found] == [p.text for p in ask(memorised, probes)]


def test_an_answer_that_goes_on_is_not_taken_for_its_beginning(memorised: Any, ask: Any) -> None:
    source = toy_period().examples[0].source
    (found,) = ask(memorised, [probe("1", source, "___ Ada")], prompt_format="prefix")
    assert found.text == "Ada Quill"


def by_hand(model: Any, source: str, answer: str) -> float:
    """log p(answer, EOS | source), one token after the other."""
    encoder = toy_tokenizer()
    (ids,), (target,) = (
        encoder.tokenize_sources([source]),
        encoder.tokenize_targets([answer]),
    )
    total, written = 0.0, [0]
    with torch.no_grad():
        for token in target:
            out = model(input_ids=torch.tensor([ids]), decoder_input_ids=torch.tensor([written]))
            total += out.logits[0, -1].log_softmax(-1)[token].item()
            written.append(token)
    return total


def test_the_log_likelihood_is_a_sum_of_log_softmax_over_the_answers_tokens(
    memorised: Any, probes: list[Probe], ask: Any
) -> None:
    for p, found in zip(probes, ask(memorised, probes), strict=True):
        expected = max(by_hand(memorised, p.source, a) for a in p.answers)
        assert found.log_likelihood == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_any_of_several_answers_counts(place: int, memorised: Any, ask: Any) -> None:
    # the originals read the first answer only
    answers = ["Nobody", "No one at all"]
    answers.insert(place, "Ada Quill")
    (found,) = ask(memorised, [probe("1", toy_period().examples[0].source, *answers)])
    assert (found.em, found.f1, found.accuracy, found.text) == (1.0, 1.0, 1.0, "Ada Quill")


def test_the_old_answer_is_recognised(memorised: Any, ask: Any) -> None:
    source = toy_period().examples[0].source
    still, gone, none = ask(
        memorised,
        [
            probe("still", source, "Bo", old=("Nobody", "Ada Quill")),
            probe("gone", source, "Ada Quill", old=("Bo",)),
            probe("none", source, "Ada Quill"),
        ],
    )
    assert (still.em, still.old_em) == (0.0, 1.0)
    assert (gone.em, gone.old_em) == (1.0, 0.0)
    assert none.old_em is None


@pytest.mark.parametrize("mode", [True, False])
def test_asking_leaves_the_model_as_it_was(mode: bool, probes: list[Probe], ask: Any) -> None:
    model = toy_model().train(mode)
    before = {n: p.clone() for n, p in model.state_dict().items()}
    ask(model, probes)
    assert model.training is mode
    assert all(torch.equal(p, before[n]) for n, p in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_dropout_is_off_while_asking(probes: list[Probe], ask: Any) -> None:
    model = toy_model().train()
    assert ask(model, probes) == ask(model, probes)


def test_the_targets_logits_start_from_the_start_token_and_never_see_the_next_one() -> None:
    model: Any = toy_model()
    encoder = toy_tokenizer()
    long, short = (
        encoder.collate([TokenizedExample([5, 6, 1], t)]) for t in ([7, 8, 9, 1], [7, 8, 3, 1])
    )
    with torch.no_grad():
        a, b = (target_logits(model, batch, model.config) for batch in (long, short))
    assert torch.equal(a[:, :3], b[:, :3])
    assert not torch.equal(a[:, 3], b[:, 3])


def test_a_mean_score_is_in_percent_and_over_probes_with_an_old_answer_where_it_asks_for_it() -> (
    None
):
    predictions = [
        Prediction("a", "x", 1.0, 1.0, 1.0, -2.0, None),
        Prediction("b", "x", 0.0, 0.5, 0.0, -4.0, 1.0),
        Prediction("c", "x", 0.0, 0.0, 0.0, -6.0, 0.0),
        Prediction("d", "x", 1.0, 1.0, 0.0, -8.0, 0.0),
    ]
    score = mean_score("updated", "2024-Q1", predictions)
    assert (score.probe_set, score.period, score.n) == ("updated", "2024-Q1", 4)
    assert (score.em, score.f1, score.accuracy, score.log_likelihood) == (50, 62.5, 25, -5)
    assert score.old_em == pytest.approx(100 / 3)
    assert mean_score("new", "x", predictions[:1]).old_em is None


def test_perplexity_is_that_of_every_token_by_hand(ask: Any, probes: list[Probe]) -> None:
    model, encoder = toy_model(), toy_tokenizer()
    nats, tokens = 0.0, 0
    for question in probes:
        best = (float("-inf"), 0)
        for answer in question.answers:
            (source,), (target,) = (
                encoder.tokenize_sources([question.source]),
                encoder.tokenize_targets([answer]),
            )
            batch = encoder.collate([TokenizedExample(source, target)])
            with torch.no_grad():
                logits = target_logits(model, batch, model.config)[0].double()
            log_p = logits.log_softmax(-1)[range(len(target)), target].sum().item()
            best = max(best, (log_p, len(target)))
        nats, tokens = nats - best[0], tokens + best[1]
    found = mean_score("new", "2024", ask(model, probes))
    assert found.tokens == tokens
    assert found.perplexity == pytest.approx(math.exp(nats / tokens), rel=1e-4)


def test_a_model_that_finds_an_answer_impossible_has_no_perplexity() -> None:
    row = Prediction("a", "x", 0.0, 0.0, 0.0, float("-inf"), tokens=3)
    assert mean_score("new", "2024", [row]).perplexity is None
    assert mean_score("new", "2024", [Prediction("a", "x", 0.0, 0.0, 0.0, -1.0)]).perplexity is None


def test_an_answer_that_the_tokenizer_cannot_spell_is_wrong_and_has_no_likelihood(
    memorised: Any, accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = toy_period().examples[0].source
    probes = [probe("known", source, KNOWN[0]), probe("unknown", source, "東京")]
    tokenizer = toy_tokenizer()
    unknown = tokenizer.whole_targets(["東京"])[0][2]
    monkeypatch.setattr(tokenizer, "unknown_id", unknown)
    evaluator = Evaluator(tokenizer, Config(output_length=12), accelerator)
    known, never = evaluator.predict(memorised, probes)
    assert (never.em, never.f1, never.accuracy) == (0.0, 0.0, 0.0)
    assert (never.log_likelihood, never.tokens, never.text) == (0.0, 0, KNOWN[0])
    both, alone = (mean_score("new", "x", rows) for rows in ([known, never], [known]))
    assert (both.em, both.n, both.unscored) == (50.0, 2, 1)
    assert both.perplexity == alone.perplexity and both.log_likelihood == alone.log_likelihood
