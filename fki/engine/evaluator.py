"""Probes to predictions, predictions to scores. Nothing derived from an answer reaches `generate`.

With greedy decoding one teacher-forced pass tells most of it: where the likeliest token is the
answer's at every place, EOS included, greedy decoding writes exactly that answer (by induction
over its tokens). Only the other probes are generated.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from math import fsum
from statistics import fmean
from typing import NamedTuple

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from fki.core.config import Config
from fki.core.errors import FkiError
from fki.core.types import Prediction, Probe, Score
from fki.data.collate import IGNORE, Encoded, Encoder
from fki.data.prompts import target_text
from fki.engine.models import target_logits
from fki.metrics.answers import accuracy, answer_text, exact_match, f1
from fki.metrics.likelihood import perplexity, target_nll


class Forced(NamedTuple):
    """What a teacher-forced pass says of one probe."""

    log_likelihood: float  # of the likeliest listed answer, nats
    tokens: int  # of that answer, which the likelihood is the sum over
    written: list[int] | None  # the tokens of a listed answer where greedy decoding writes it


class Evaluator:
    """Asks a model and scores its answers, in fp32."""

    def __init__(self, encoder: Encoder, config: Config, accelerator: Accelerator) -> None:
        self.encoder, self.config, self.accelerator = encoder, config, accelerator
        self.decode = encoder.tokenizer.decode

    @torch.inference_mode()
    def predict(self, model: nn.Module, probes: Sequence[Probe]) -> list[Prediction]:
        """The model's answer to each probe, in their order; shared out among the processes."""
        was_training = model.training
        model.eval()
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        mine = range(rank, len(probes), world)
        found = list(zip(mine, self._predict(model, [probes[i] for i in mine]), strict=True))
        model.train(was_training)
        everything = gather_object(found) if world > 1 else found
        return [prediction for _, prediction in sorted(everything, key=lambda pair: pair[0])]

    def _predict(self, model: nn.Module, probes: Sequence[Probe]) -> list[Prediction]:
        sources = self.encoder.sources([p.source for p in probes])
        forced = self._force(model, probes, sources)
        beams = self.config.num_beams
        left = [i for i, f in enumerate(forced) if f.written is None or beams > 1]
        generated = dict(zip(left, self._generate(model, [sources[i] for i in left]), strict=True))
        texts = [
            answer_text(self.decode(generated.get(i, f.written))) for i, f in enumerate(forced)
        ]
        return [_prediction(p, t, f) for p, t, f in zip(probes, texts, forced, strict=True)]

    def _force(
        self, model: nn.Module, probes: Sequence[Probe], sources: Sequence[list[int]]
    ) -> list[Forced]:
        """Each probe's listed answers, forced on the model."""
        pairs = [(i, answer) for i, probe in enumerate(probes) for answer in probe.answers]
        targets = self.encoder.targets([target_text(a, self.config.prompt) for _, a in pairs])
        encoded = [Encoded(sources[i], t) for (i, _), t in zip(pairs, targets, strict=True)]
        best = [Forced(float("-inf"), 0, None)] * len(probes)
        for chosen in self._batches([e.source for e in encoded]):
            log_likelihood, certain = self._forced_pass(model, [encoded[k] for k in chosen])
            for k, value, is_written in zip(chosen, log_likelihood, certain, strict=True):
                i, target = pairs[k][0], encoded[k].target
                written = target if is_written else best[i].written
                found = Forced(value, len(target), written)
                likeliest = max(found, best[i], key=lambda forced: forced.log_likelihood)
                best[i] = likeliest._replace(written=written)
        return best

    def _forced_pass(
        self, model: nn.Module, encoded: Sequence[Encoded]
    ) -> tuple[list[float], list[bool]]:
        """Per example: log-likelihood of its target, and whether greedy decoding writes it.

        Raises FkiError where a log-likelihood is not a finite number.
        """
        batch = self.encoder.batch(encoded).to(self.accelerator.device)
        logits = target_logits(model, batch, model.config)
        log_likelihood = (-target_nll(logits, batch.labels)).tolist()
        if not all(map(math.isfinite, log_likelihood)):
            raise FkiError(
                "The model's logits are no longer finite numbers: its training went astray.",
                hint=f"Try a learning rate below {self.config.learning_rate:g}.",
            )
        return log_likelihood, _all_greedy(logits, batch.labels)

    def _generate(self, model: nn.Module, sources: Sequence[list[int]]) -> list[list[int]]:
        """Token ids that the model writes for each source."""
        written: list[list[int]] = [[]] * len(sources)
        for chosen in self._batches(sources):
            batch = self.encoder.batch([Encoded(sources[k], [0]) for k in chosen])
            out = model.generate(  # type: ignore[operator]
                input_ids=batch.input_ids.to(self.accelerator.device),
                attention_mask=batch.attention_mask.to(self.accelerator.device),
                max_new_tokens=self.config.output_length,
                num_beams=self.config.num_beams,
                do_sample=False,
            )
            for k, row in zip(chosen, out[:, 1:].tolist(), strict=True):  # without the start token
                written[k] = row
        return written

    def _batches(self, sources: Sequence[Sequence[int]]) -> Iterator[list[int]]:
        """Indices in batches of like length."""
        order = sorted(range(len(sources)), key=lambda i: len(sources[i]))
        size = self.config.eval_batch_size
        return (order[i : i + size] for i in range(0, len(order), size))


def _all_greedy(logits: Tensor, labels: Tensor) -> list[bool]:
    """[B]: is every scored label the likeliest token? logits [B, U, V], labels [B, U]."""
    agrees = (logits.argmax(-1) == labels) | (labels == IGNORE)
    return agrees.all(-1).tolist()


def _prediction(probe: Probe, text: str, forced: Forced) -> Prediction:
    return Prediction(
        id=probe.id,
        text=text,
        em=exact_match(text, probe.answers),
        f1=f1(text, probe.answers),
        accuracy=accuracy(text, probe.answers),
        log_likelihood=forced.log_likelihood,
        old_em=exact_match(text, probe.old_answers) if probe.old_answers else None,
        tokens=forced.tokens,
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
    )
