"""Exact match of a trained model, against the originals' way of asking it.

The originals generated with two beams from inputs padded to 50, 32 at a time, ten tokens at most,
and ran a second pass for the loss. Ours is `Evaluator.predict`, asked for one beam; that its exact
matches are those of plain greedy decoding is asserted, not assumed. The model is the embedded
t5-mini, which knows the base facts of the embedded dataset; the questions are its own.
"""

from typing import Any

import torch

from benchmarks.measure import Variant
from benchmarks.peers import padded
from benchmarks.workloads import accelerator
from fki.config.schema import Config
from fki.core.paths import asset_folder
from fki.core.types import Probe
from fki.data.collator import ExampleTokenizer, TokenizedExample, make_tokenize
from fki.data.dataset_folder import read_folder
from fki.data.prompts import target_text
from fki.evaluation.evaluator import Evaluator
from fki.metrics.answers import exact_match, extract_answer
from fki.modeling import load

KNOWN, UNKNOWN = 224, 32  # questions of base facts, and of facts that came later
WIDTH, TOGETHER, WRITTEN = 50, 32, 9  # of the originals: input tokens, batch, new tokens


def questions() -> list[Probe]:
    """Of the embedded dataset, some of either kind, with answers that are short enough."""
    encode = make_tokenize(load.load_base_model("t5-mini").tokenizer)
    stream = read_folder(asset_folder("wiki"), "quarter", "sentinel", name="wiki")
    sets = {s.name: s.probes for s in stream.probe_sets}
    found: list[Probe] = []
    for name, number in (("initial", KNOWN), ("new", UNKNOWN)):
        ids = encode([target_text(p.answers[0], "sentinel") for p in sets[name]])
        short = [p for p, i in zip(sets[name], ids, strict=True) if len(i) <= WRITTEN]
        found += short[:: len(short) // number][:number]
    return found


@torch.inference_mode()
def originals(model: Any, asked: list[TokenizedExample], beams: int) -> list[list[int]]:
    """Generated as the originals did; the loss pass is theirs too."""
    found: list[list[int]] = []
    for start in range(0, len(asked), TOGETHER):
        some = [e._replace(source=e.source[:WIDTH]) for e in asked[start : start + TOGETHER]]
        batch = padded(some, WIDTH, WRITTEN + 1)
        labels = batch.pop("labels")
        out = model.generate(**batch, num_beams=beams, max_new_tokens=WRITTEN, do_sample=False)
        model(**batch, labels=labels)
        found += out[:, 1:].tolist()
    return found


def variants() -> dict[str, Variant]:
    """The originals' way, with one beam too, and ours; each returns how many it asked.

    Raises AssertionError where our exact matches are not those of greedy decoding.
    """
    model, tokenizer, _ = load.load_base_model("t5-mini")
    probes = questions()
    encoder = ExampleTokenizer(tokenizer, 64, 32)
    sources = encoder.tokenize_sources([p.source for p in probes])
    targets = encoder.tokenize_targets([target_text(p.answers[0], "sentinel") for p in probes])
    asked = [TokenizedExample(*pair) for pair in zip(sources, targets, strict=True)]
    ours = Evaluator(encoder, Config(output_length=WRITTEN), accelerator())
    told = [p.em for p in ours.predict(model, probes)]
    written = originals(model.eval(), asked, 1)
    texts = [extract_answer(tokenizer.decode(row)) for row in written]
    greedy = [exact_match(t, p.answers) for t, p in zip(texts, probes, strict=True)]
    assert told == greedy, "not the exact matches of greedy decoding"

    def theirs(beams: int) -> Variant:
        return lambda: float(len(originals(model, asked, beams)))

    name = f"fki ({sum(told):.0f} of {len(probes)} are right)"
    return {
        "originals: 2 beams, padded": theirs(2),
        "originals: greedy, padded": theirs(1),
        name: lambda: float(len(ours.predict(model, probes))),
    }
