"""Evaluate a model: probes to predictions, predictions to scores, in fp32.

With greedy decoding, one teacher-forced pass answers most probes. If the likeliest token equals the
listed answer's token at every position, EOS included, greedy decoding produces exactly that answer
(by induction over its tokens). Only the other probes are decoded, from the same encoder output.
Decoding never receives anything derived from an answer.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from itertools import islice
from math import fsum
from statistics import fmean
from typing import Any, TypeAlias

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from fki.config.schema import Config
from fki.core.types import Batch, Prediction, Probe, Score
from fki.data.collator import ExampleTokenizer, TokenizedExample
from fki.data.packing import split_micro_batches
from fki.evaluation.answer_scores import (
    ProbeScores,
    check_finite,
    list_targets,
    summarize_passes,
)
from fki.evaluation.case_scores import means_of_groups, score_cases
from fki.evaluation.conditions import MetConditions
from fki.evaluation.ranking import rank_of, score_candidates
from fki.evaluation.schedule import ProbeCell
from fki.evaluation.untouched import UntouchedAnswers
from fki.metrics.answers import accuracy, contains_answer, exact_match, f1
from fki.metrics.draws import to_scalar
from fki.metrics.pooling import percentage, perplexity
from fki.metrics.registry import ANSWER_METRICS, COUNTED_SCORES
from fki.modeling.accepted_answers import AcceptedAnswers
from fki.modeling.architecture import Architecture, architecture_of
from fki.modeling.decoding import DecodedAnswer, EncodedInputs, ForcedAnswer
from fki.modeling.encoder_cache import CachedStates, EncoderCache
from fki.modeling.sharded_scoring import scoring_passes

NEAR_TIE = 1e-4  # logits: rounding decides between two tokens that are closer than this


TokenizeQuestions: TypeAlias = Callable[[Sequence[str]], list[list[int]]]
OnProgress: TypeAlias = Callable[[int, int], None]  # receives the scored probes, and their number


class Evaluator:
    """Predicts the answers of probes and scores them, in fp32."""

    def __init__(
        self,
        tokenizer: ExampleTokenizer,
        config: Config,
        accelerator: Accelerator,
        encoder_cache: EncoderCache | None = None,
        tokenize_questions: TokenizeQuestions | None = None,
    ) -> None:
        """
        Args:
            encoder_cache: of the model's frozen encoder, read instead of running it.
            tokenize_questions: token ids of each question as the model reads it, such as after
                retrieved passages; by default those of the question alone.
        """
        self.tokenizer, self.config, self.accelerator = tokenizer, config, accelerator
        self.encoder_cache = encoder_cache
        self.tokenize_questions = tokenize_questions or tokenizer.tokenize_sources
        self.question_tokens = 0  # input tokens of all predicted probes, over all processes
        self.accepted = AcceptedAnswers(tokenizer)
        self.on_progress: OnProgress | None = None  # after each batch of this process

    def predict(
        self, model: Any, probes: Sequence[Probe], groups: Sequence[str] = ()
    ) -> list[Prediction]:
        """Predict the answer of each probe; all processes share the work and get all results.

        Args:
            groups: for each probe the name of its group in the encoder cache. A group must contain
                the same probes in every evaluation.
        Returns:
            One prediction for each probe, in their order.
        Raises:
            FkiError: a log-likelihood is NaN or infinite.
        """
        was_training = model.training
        model.eval()
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        mine = range(rank, len(probes), world)
        names = [groups[i] for i in mine] if groups else []
        sources = self.tokenize_questions([probes[i].source for i in mine])
        with scoring_passes(model, self.config.scoring_weights), torch.inference_mode():
            predictions = self._predict(model, [probes[i] for i in mine], sources, names)
        numbered = list(zip(mine, predictions, map(len, sources), strict=True))
        model.train(was_training)
        gathered = gather_object(numbered) if world > 1 else numbered
        self.question_tokens += sum(tokens for _, _, tokens in gathered)
        return [prediction for _, prediction, _ in sorted(gathered, key=lambda row: row[0])]

    def predict_cells(self, model: Any, cells: Sequence[ProbeCell]) -> Iterator[list[Prediction]]:
        """The predictions of each cell; all cells share full batches."""
        probes = [probe for cell in cells for probe in cell.probes]
        names = [f"{c.probe_set} {c.column} {c.lasts}" for c in cells for _ in c.probes]
        predictions = iter(self.predict(model, probes, names))
        return (list(islice(predictions, len(cell.probes))) for cell in cells)

    def _predict(
        self,
        model: Any,
        probes: Sequence[Probe],
        sources: Sequence[list[int]],
        names: Sequence[str],
    ) -> list[Prediction]:
        examples = [TokenizedExample(source, [0]) for source in sources]
        groups = self._fetch_groups(names, examples)
        scores: dict[int, ProbeScores] = {}
        decoded: dict[int, DecodedAnswer] = {}
        undecoded: dict[int, Any] = {}  # sources, as `EncodedInputs.unpadded` returns them
        architecture = architecture_of(model)
        for chosen in self._iter_batches(examples):
            batch = self.tokenizer.collate([examples[i] for i in chosen])
            patched = self._patch_encoder(batch, [groups.get(i) for i in chosen])
            batch = batch.to(self.accelerator.device)
            with patched:
                inputs = architecture.encode(model, batch)
            batch_scores = self._score_answers(model, inputs, [probes[i] for i in chosen])
            for row, (i, score) in enumerate(zip(chosen, batch_scores, strict=True)):
                scores[i] = score
                if score.greedy and self.config.num_beams == 1:
                    decoded[i] = score.greedy
                else:
                    undecoded[i] = inputs.unpadded(row, len(examples[i].source))
            if self.on_progress:
                self.on_progress(len(scores), len(probes))
            if len(undecoded) >= self.config.eval_batch_size:
                decoded |= self._decode(model, undecoded, examples)
                undecoded = {}
        decoded |= self._decode(model, undecoded, examples)
        return [self._make_prediction(probes[i], decoded[i], scores[i]) for i in range(len(probes))]

    def _decode(
        self, model: Any, undecoded: dict[int, Any], examples: Sequence[TokenizedExample]
    ) -> dict[int, DecodedAnswer]:
        """Decode the remaining probes, regrouped into full batches."""
        decoded: dict[int, DecodedAnswer] = {}
        numbers, architecture = [*undecoded], architecture_of(model)
        for part in self._iter_batches([examples[i] for i in numbers]):
            chosen = [numbers[row] for row in part]
            inputs = architecture.stack([undecoded[i] for i in chosen])
            answers = self._decode_batch(architecture, model, inputs)
            decoded.update(zip(chosen, answers, strict=True))
        return decoded

    def _decode_batch(
        self, architecture: Architecture, model: Any, inputs: EncodedInputs
    ) -> list[DecodedAnswer]:
        length, beams = self.config.output_length, self.config.num_beams
        if beams == 1:
            return architecture.decode(model, inputs, self.tokenizer, length=length)
        best = architecture.beam_search(model, inputs, self.tokenizer, length=length, beams=beams)
        return [DecodedAnswer(tokens, None) for [tokens] in best]

    def _make_prediction(
        self, probe: Probe, decoded: DecodedAnswer, scores: ProbeScores
    ) -> Prediction:
        text = self.tokenizer.read_answer(decoded.tokens)
        answers, old = self.accepted.accept(probe.answers), self.accepted.accept(probe.old_answers)
        contrast = scores.contrast
        return Prediction(
            id=probe.id,
            text=text,
            em=exact_match(text, answers),
            f1=f1(text, answers),
            accuracy=accuracy(text, answers),
            log_likelihood=scores.log_likelihood,
            old_em=exact_match(text, old) if probe.old_answers else None,
            tokens=scores.tokens,
            margin=decoded.margin,
            contains=contains_answer(text, answers),
            token_accuracy=scores.token_accuracy,
            success=contrast and contrast.success,
            magnitude=contrast and contrast.magnitude,
            distractor_log_likelihood=contrast and contrast.log_likelihood,
            likeliest=scores.likeliest,
            precision_at_1=_is_within(scores.rank, 1),
            precision_at_10=_is_within(scores.rank, 10),
        )

    def _fetch_groups(
        self, names: Sequence[str], examples: Sequence[TokenizedExample]
    ) -> dict[int, CachedStates | None]:
        """The cached group of each probe's source; empty without an encoder cache."""
        if self.encoder_cache is None:
            return {}
        members: dict[str, list[int]] = defaultdict(list)
        for i, name in enumerate(names):
            members[name].append(i)
        groups = {
            name: self.encoder_cache.fetch(f"asked: {name}", [examples[i].source for i in numbers])
            for name, numbers in members.items()
        }
        return {i: groups[name] for i, name in enumerate(names)}

    def _patch_encoder(
        self, batch: Batch, groups: Sequence[CachedStates | None]
    ) -> AbstractContextManager[None]:
        cache = self.encoder_cache
        return cache.patch_encoder(batch, groups) if cache else nullcontext()

    def _score_answers(
        self, model: Any, inputs: EncodedInputs, probes: Sequence[Probe]
    ) -> list[ProbeScores]:
        """Score the answers and distractors of each probe in teacher-forced passes."""
        listed = list_targets(probes, self.tokenizer)
        pairs = [(i, target) for i, _, target in listed]
        found = architecture_of(model).score_targets(model, inputs, pairs, self.tokenizer)
        passes: list[dict[int, tuple[list[int], ForcedAnswer]]] = [{} for _ in probes]
        for (i, number, target), forced in zip(listed, found, strict=True):
            check_finite(forced, self.config.learning_rate)
            passes[i][number] = target, forced
        both = zip(probes, passes, strict=True)
        scores = [summarize_passes(probe, done, self.tokenizer) for probe, done in both]
        return self._rank_answers(model, inputs, probes, scores)

    def _rank_answers(
        self,
        model: Any,
        inputs: EncodedInputs,
        probes: Sequence[Probe],
        scores: list[ProbeScores],
    ) -> list[ProbeScores]:
        """The scores, with the rank of the likeliest right answer of each probe with candidates."""
        if not any(probe.candidates for probe in probes):
            return scores
        found = score_candidates(model, inputs, probes, self.tokenizer)
        return [
            s._replace(rank=rank_of(s.best, others)) if p.candidates and s.best is not None else s
            for p, s, others in zip(probes, scores, found, strict=True)
        ]

    def _iter_batches(self, examples: Sequence[TokenizedExample]) -> Iterator[list[int]]:
        """Indices of examples of similar length."""
        rows = [[i] for i in range(len(examples))]
        most, budget = self.config.eval_batch_size, self.config.eval_batch_tokens or math.inf
        for batch in split_micro_batches(examples, rows, most=most, budget=budget):
            yield [i for row in batch for i in row]


def _is_within(rank: int | None, k: int) -> float | None:
    """P@k of one probe; None if its answers are not ranked."""
    return None if rank is None else float(rank <= k)


def complete_predictions(
    cell: ProbeCell,
    predictions: Sequence[Prediction],
    untouched: UntouchedAnswers,
    conditions: MetConditions,
) -> list[Prediction]:
    """The predictions of a cell with the scores of tests: of facts to keep with what is as before
    training, of others with the scores of cases."""
    predictions = conditions.score_tests(cell.probes, predictions)
    if cell.is_kept:
        return untouched.compare(cell.probe_set, predictions)
    return score_cases(cell.probes, predictions)


def sample_row(cell: ProbeCell, prediction: Prediction) -> dict[str, Any]:
    """A prediction as samples.jsonl stores it. Only facts to keep have the likeliest tokens."""
    row = {"probe_set": cell.probe_set, **asdict(prediction)}
    return row | {"likeliest": row["likeliest"] if cell.is_kept else None}


def mean_score(
    probe_set: str,
    period: str,
    predictions: Iterable[Prediction],
    *,
    lasts: bool = True,
    probes: Iterable[Probe] = (),
) -> Score:
    """The mean over at least one prediction; EM, F1 and accuracy in percent.

    Means over edits and relations need the `probes` of the predictions, in their order.

    A prediction without tokens and nats has no listed answer that the tokenizer can represent. It
    counts as wrong, but not in log-likelihood and perplexity.
    """
    rows = [asdict(p) for p in predictions]
    nats, tokens = -fsum(row["log_likelihood"] for row in rows), sum(row["tokens"] for row in rows)
    scored = sum(row["tokens"] > 0 or row["log_likelihood"] != 0 for row in rows)
    labels = [(probe.case, probe.relation) for probe in probes]
    groups = {"case": [case for case, _ in labels], "relation": [name for _, name in labels]}
    means: dict[str, Any] = {}
    counts: dict[str, Any] = {}
    for metric in ANSWER_METRICS:
        if metric.pool is percentage:
            names = groups[metric.within] if metric.within else range(len(rows))
            needed = COUNTED_SCORES.get(metric.has_score, metric.total)
            scores = [None if row[needed] is None else row[metric.total] for row in rows]
            values = means_of_groups(scores, names)
            means[metric.key] = 100 * fmean(values) if values else None
            counts |= {metric.per: len(values)} if metric.per else {}
    return Score(
        probe_set=probe_set,
        period=period,
        n=len(rows),
        log_likelihood=-nats / max(1, scored),
        tokens=tokens,
        perplexity=to_scalar(perplexity(-nats, tokens)),
        lasts=lasts,
        unscored=len(rows) - scored,
        near_ties=sum(row["margin"] is not None and row["margin"] < NEAR_TIE for row in rows),
        **means,
        **counts,
    )
