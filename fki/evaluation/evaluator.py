"""Probes to predictions, predictions to scores. Nothing derived from an answer reaches decoding.

With greedy decoding one teacher-forced pass tells most of it: where the likeliest token is the
answer's at every place, EOS included, greedy decoding writes exactly that answer (by induction
over its tokens). Only the other probes are decoded, from the same encoder's output.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from itertools import islice
from math import fsum
from statistics import fmean
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from fki.config.schema import Config
from fki.core.errors import FkiError
from fki.core.types import Batch, Prediction, Probe, Score
from fki.data.collator import ExampleTokenizer, TokenizedExample
from fki.data.packing import split_micro_batches
from fki.data.prompts import target_text
from fki.evaluation.schedule import ProbeCell
from fki.metrics.answers import accuracy, exact_match, extract_answer, f1
from fki.metrics.likelihood import perplexity
from fki.modeling.decoding import DecodedAnswer, EncodedInputs, decode, score_targets
from fki.modeling.encoder_cache import CachedStates, EncoderCache

NEAR_TIE = 1e-4  # logits: two tokens as near as this are told apart by rounding


class ProbeScores(NamedTuple):
    """What the teacher-forced passes say of one probe."""

    log_likelihood: float  # of the likeliest listed answer, nats
    tokens: int  # of that answer, which the likelihood is the sum over
    written: DecodedAnswer | None  # a listed answer, where greedy decoding writes one


class Evaluator:
    """Asks a model and scores its answers, in fp32."""

    def __init__(
        self,
        encoder: ExampleTokenizer,
        config: Config,
        accelerator: Accelerator,
        states: EncoderCache | None = None,
    ) -> None:
        """`states`: of the model's frozen encoder, to be read instead of running it."""
        self.encoder, self.config, self.accelerator = encoder, config, accelerator
        self.states = states
        self.decode = encoder.tokenizer.decode

    @torch.inference_mode()
    def predict(
        self, model: Any, probes: Sequence[Probe], groups: Sequence[str] = ()
    ) -> list[Prediction]:
        """The model's answer to each probe, in their order; shared out among the processes.

        Args:
            groups: the name of the group that each probe is always asked in, for `states`.
        Raises:
            FkiError: a log-likelihood is not a finite number.
        """
        was_training = model.training
        model.eval()
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        mine = range(rank, len(probes), world)
        names = [groups[i] for i in mine] if groups else []
        found = list(zip(mine, self._predict(model, [probes[i] for i in mine], names), strict=True))
        model.train(was_training)
        everything = gather_object(found) if world > 1 else found
        return [prediction for _, prediction in sorted(everything, key=lambda pair: pair[0])]

    def ask(self, model: Any, cells: Sequence[ProbeCell]) -> Iterator[list[Prediction]]:
        """The predictions of each cell; all are asked together, so that batches are full."""
        probes = [probe for cell in cells for probe in cell.probes]
        names = [f"{c.probe_set} {c.column} {c.lasts}" for c in cells for _ in c.probes]
        found = iter(self.predict(model, probes, names))
        return (list(islice(found, len(cell.probes))) for cell in cells)

    def _predict(
        self, model: Any, probes: Sequence[Probe], names: Sequence[str]
    ) -> list[Prediction]:
        encoded = [
            TokenizedExample(s, [0])
            for s in self.encoder.tokenize_sources([p.source for p in probes])
        ]
        groups = self._groups(names, encoded)
        told: dict[int, ProbeScores] = {}
        written: dict[int, DecodedAnswer] = {}
        waiting: dict[int, Tensor] = {}  # [T, D]: what the encoder says of those left to decode
        for chosen in self._batches(encoded):
            batch = self.encoder.collate([encoded[i] for i in chosen])
            known = self._recalled(batch, [groups.get(i) for i in chosen])
            batch = batch.to(self.accelerator.device)
            with known:
                states = model.get_encoder()(
                    input_ids=batch.input_ids, attention_mask=batch.attention_mask
                ).last_hidden_state
            read = EncodedInputs(states, batch.attention_mask)
            fresh = self._force(model, read, [probes[i] for i in chosen])
            for row, (i, one) in enumerate(zip(chosen, fresh, strict=True)):
                told[i] = one
                if one.written and self.config.num_beams == 1:
                    written[i] = one.written
                else:
                    waiting[i] = states[row, : len(encoded[i].source)].clone()
            if len(waiting) >= self.config.eval_batch_size:
                written |= self._write(model, waiting, encoded)
                waiting = {}
        written |= self._write(model, waiting, encoded)
        return [
            _make_prediction(probes[i], self._text(written[i]), told[i], written[i].margin)
            for i in range(len(probes))
        ]

    def _write(
        self, model: Any, waiting: dict[int, Tensor], encoded: Sequence[TokenizedExample]
    ) -> dict[int, DecodedAnswer]:
        """What the model writes of each that waits, in batches that are full again."""
        found: dict[int, DecodedAnswer] = {}
        numbers = [*waiting]
        for part in self._batches([encoded[i] for i in numbers]):
            chosen = [numbers[row] for row in part]
            states = pad_sequence([waiting[i] for i in chosen], batch_first=True)
            mask = self.encoder.collate([encoded[i] for i in chosen]).attention_mask
            read = EncodedInputs(states, mask.to(states.device))
            length, beams = self.config.output_length, self.config.num_beams
            found.update(zip(chosen, decode(model, read, length=length, beams=beams), strict=True))
        return found

    def _text(self, written: DecodedAnswer) -> str:
        return extract_answer(self.decode(written.tokens))

    def _groups(
        self, names: Sequence[str], encoded: Sequence[TokenizedExample]
    ) -> dict[int, CachedStates | None]:
        """The group of states that holds each probe's source; none where none are kept."""
        if self.states is None:
            return {}
        members: dict[str, list[int]] = defaultdict(list)
        for i, name in enumerate(names):
            members[name].append(i)
        groups = {
            name: self.states.group(f"asked: {name}", [encoded[i].source for i in held])
            for name, held in members.items()
        }
        return {i: groups[name] for i, name in enumerate(names)}

    def _recalled(
        self, batch: Batch, groups: Sequence[CachedStates | None]
    ) -> AbstractContextManager[None]:
        return self.states.recalled(batch, groups) if self.states else nullcontext()

    def _force(self, model: Any, read: EncodedInputs, probes: Sequence[Probe]) -> list[ProbeScores]:
        """Each probe's listed answers, forced on the model."""
        asked = [(i, answer) for i, probe in enumerate(probes) for answer in probe.answers]
        targets = self.encoder.tokenize_targets(
            [target_text(a, self.config.prompt_format) for _, a in asked]
        )
        pairs = [(i, target) for (i, _), target in zip(asked, targets, strict=True)]
        best = [ProbeScores(float("-inf"), 0, None)] * len(probes)
        for (i, target), forced in zip(
            pairs, score_targets(model, read, pairs, self.encoder), strict=True
        ):
            if not math.isfinite(forced.log_likelihood):
                raise FkiError(
                    "The model's logits are no longer finite numbers: its training went astray.",
                    hint=f"Try a learning rate below {self.config.learning_rate:g}.",
                )
            written = DecodedAnswer(target, forced.margin) if forced.is_written else best[i].written
            found = ProbeScores(forced.log_likelihood, len(target), written)
            likeliest = max(found, best[i], key=lambda told: told.log_likelihood)
            best[i] = likeliest._replace(written=written)
        return best

    def _batches(self, encoded: Sequence[TokenizedExample]) -> Iterator[list[int]]:
        """Indices in batches of like length."""
        rows = [[i] for i in range(len(encoded))]
        most, budget = self.config.eval_batch_size, self.config.eval_batch_tokens or math.inf
        for batch in split_micro_batches(encoded, rows, most=most, budget=budget):
            yield [i for row in batch for i in row]


def _make_prediction(
    probe: Probe, text: str, told: ProbeScores, margin: float | None
) -> Prediction:
    return Prediction(
        id=probe.id,
        text=text,
        em=exact_match(text, probe.answers),
        f1=f1(text, probe.answers),
        accuracy=accuracy(text, probe.answers),
        log_likelihood=told.log_likelihood,
        old_em=exact_match(text, probe.old_answers) if probe.old_answers else None,
        tokens=told.tokens,
        margin=margin,
    )


def mean_score(
    probe_set: str, period: str, predictions: Iterable[Prediction], *, lasts: bool = True
) -> Score:
    """The mean of at least one prediction; EM, F1 and accuracy as percentages."""
    rows = [asdict(p) for p in predictions]
    old = [row["old_em"] for row in rows if row["old_em"] is not None]
    mean = {key: fmean(row[key] for row in rows) for key in ("em", "f1", "accuracy")}
    nats, tokens = -fsum(row["log_likelihood"] for row in rows), sum(row["tokens"] for row in rows)
    return Score(
        probe_set=probe_set,
        period=period,
        n=len(rows),
        em=100 * mean["em"],
        f1=100 * mean["f1"],
        accuracy=100 * mean["accuracy"],
        log_likelihood=-nats / len(rows),
        old_em=100 * fmean(old) if old else None,
        old_n=len(old),
        tokens=tokens,
        perplexity=perplexity(nats, tokens),
        lasts=lasts,
        near_ties=sum(row["margin"] is not None and row["margin"] < NEAR_TIE for row in rows),
    )
