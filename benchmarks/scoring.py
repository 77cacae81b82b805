"""Exact match of a model that has learned a part of what it is asked, against the originals' way.

The originals generated with two beams from inputs padded to 50, 32 at a time, at most ten tokens,
and ran a second pass for the loss. Ours is `Evaluator.predict`, asked for one beam; that its exact
matches are those of plain greedy decoding is asserted, not assumed.
"""

from typing import Any

import torch

from benchmarks.measure import Variant
from benchmarks.peers import padded
from benchmarks.workloads import SMALL, Ids, accelerator, examples, model
from fki.core.config import Config
from fki.core.types import Probe
from fki.data.collate import Encoded
from fki.engine.evaluator import Evaluator

ASKED, STEPS = 128, 150  # probes; optimizer steps on seven eighths of them
WIDTH, TOGETHER, WRITTEN = 50, 32, 9  # of the originals: input tokens, batch, new tokens


class Words:
    """A tokenizer that writes ids as words, so that answers can be compared as texts."""

    def decode(self, ids: list[int]) -> str:
        """`<extra_id_0>` for the sentinel, `</s>` for EOS."""
        names = {0: "<pad>", 1: "</s>", 32128 - 29: "<extra_id_0>"}
        return " ".join(names.get(i, f"w{i}") for i in ids)


class Asked(Ids):
    """Probes whose source and answer are an example's number."""

    tokenizer = Words()

    def __init__(self, made: list[Encoded]) -> None:
        super().__init__(made)
        self.answers = {answer(e.target): e.target for e in made}

    def targets(self, texts: Any) -> list[list[int]]:
        """The ids of each answer."""
        return [self.answers[text.split("> ")[1].split(" <")[0]] for text in texts]


def answer(target: list[int]) -> str:
    """What a target says between its sentinel and EOS."""
    return " ".join(f"w{i}" for i in target[1:-1])


def learned(shape: dict[str, int], made: list[Encoded], steps: int) -> Any:
    """A model that knows most of it by heart."""
    taught: Any = model(shape, dropout_rate=0.0).train()
    optimizer = torch.optim.AdamW(taught.parameters(), lr=1e-3, fused=True)
    known = made[: len(made) * 7 // 8]
    for step in range(steps):
        batch = [known[(step * 32 + i) % len(known)] for i in range(32)]
        width, length = (max(len(e[k]) for e in batch) for k in (0, 1))
        taught(**padded(batch, width, length)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return taught.eval()


@torch.inference_mode()
def originals(asked: Any, made: list[Encoded], beams: int = 2) -> list[list[int]]:
    """Generated as the originals did; the loss pass is theirs too."""
    found: list[list[int]] = []
    for start in range(0, len(made), TOGETHER):
        some = made[start : start + TOGETHER]
        batch = padded([e._replace(source=e.source[:WIDTH]) for e in some], WIDTH, WRITTEN + 1)
        labels = batch.pop("labels")
        out = asked.generate(**batch, num_beams=beams, max_new_tokens=WRITTEN, do_sample=False)
        asked(**batch, labels=labels)
        found += out[:, 1:].tolist()
    return found


def variants(
    shape: dict[str, int] = SMALL, n: int = ASKED, steps: int = STEPS
) -> dict[str, Variant]:
    """The originals' way, with one beam too, and ours; each returns how many it asked.

    Raises AssertionError where our exact matches are not those of greedy decoding.
    """
    made = [e._replace(source=e.source[:WIDTH]) for e in examples("facts", n)]
    taught = learned(shape, made, steps)
    config = Config(output_length=WRITTEN, eval_batch_tokens=2048)
    ours = Evaluator(Asked(made), config, accelerator())
    probes = [Probe(e.id, "", e.id, (answer(e.target),)) for e in made]
    told = [p.em for p in ours.predict(taught, probes)]
    greedy = [
        row[: len(e.target)] == e.target
        for row, e in zip(originals(taught, made, 1), made, strict=True)
    ]
    assert [em == 1.0 for em in told] == greedy, "not the exact matches of greedy decoding"
    assert 0 < sum(told) < n, f"{sum(told):.0f} of {n} are known: that shows nothing"

    def theirs(beams: int) -> Variant:
        return lambda: float(len(originals(taught, made, beams)))

    return {
        "originals: 2 beams, padded": theirs(2),
        "originals: greedy, padded": theirs(1),
        f"fki ({sum(told):.0f} of {n} are right)": lambda: float(len(ours.predict(taught, probes))),
    }
