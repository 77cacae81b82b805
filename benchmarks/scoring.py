"""Measure the scoring of exact matches against that of the original research code.

The originals generate with two beams from inputs padded to 50 tokens, 32 at a time, at most ten
tokens each, and run a second pass for the loss. fki's scoring is `Evaluator.predict` with one beam;
an assertion checks that its exact matches are those of greedy decoding. The model is the embedded
t5-mini, the probes are those of the embedded dataset.
"""

from typing import Any

import torch

from benchmarks.measure import Variant
from benchmarks.peers import pad_examples
from benchmarks.workloads import accelerator
from fki.config.schema import Config
from fki.core.paths import asset_folder
from fki.core.types import Probe
from fki.data.collator import ExampleTokenizer, TokenizedExample
from fki.data.dataset_folder import read_folder
from fki.data.prompts import PROMPT_FORMS
from fki.data.tokenization import make_tokenize
from fki.evaluation.evaluator import Evaluator
from fki.metrics.answers import exact_match
from fki.modeling import load

KNOWN, UNKNOWN = 224, 32  # probes of base facts, and of later facts
INPUT_TOKENS, BATCH_SIZE, NEW_TOKENS = 50, 32, 9  # of the originals


def select_probes() -> list[Probe]:
    """Select probes of both kinds whose answers are short enough."""
    encode = make_tokenize(load.load_base_model("t5-mini").tokenizer)
    stream = read_folder(asset_folder("wiki"), "quarter", "sentinel", name="wiki")
    sets = {s.name: s.probes for s in stream.probe_sets}
    selected: list[Probe] = []
    for name, number in (("initial", KNOWN), ("new", UNKNOWN)):
        ids = encode([PROMPT_FORMS["sentinel"].target(p.answers[0]) for p in sets[name]])
        short = [p for p, i in zip(sets[name], ids, strict=True) if len(i) <= NEW_TOKENS]
        selected += short[:: len(short) // number][:number]
    return selected


@torch.inference_mode()
def generate_originals(model: Any, examples: list[TokenizedExample], beams: int) -> list[list[int]]:
    """Generate as the originals do, with their pass for the loss."""
    outputs: list[list[int]] = []
    for start in range(0, len(examples), BATCH_SIZE):
        batch_examples = [
            e._replace(source=e.source[:INPUT_TOKENS]) for e in examples[start : start + BATCH_SIZE]
        ]
        batch = pad_examples(batch_examples, INPUT_TOKENS, NEW_TOKENS + 1)
        labels = batch.pop("labels")
        out = model.generate(**batch, num_beams=beams, max_new_tokens=NEW_TOKENS, do_sample=False)
        model(**batch, labels=labels)
        outputs += out[:, 1:].tolist()
    return outputs


def variants() -> dict[str, Variant]:
    """The originals' scoring, with two beams and one, and fki's; each returns its probe count.

    Raises AssertionError if fki's exact matches are not those of greedy decoding.
    """
    model, tokenizer, _ = load.load_base_model("t5-mini")
    probes = select_probes()
    encoder = ExampleTokenizer(tokenizer, 64, 32)
    sources = encoder.tokenize_sources([p.source for p in probes])
    targets = encoder.tokenize_targets([p.answers[0] for p in probes])
    examples = [TokenizedExample(*pair) for pair in zip(sources, targets, strict=True)]
    evaluator = Evaluator(encoder, Config(output_length=NEW_TOKENS), accelerator())
    matches = [p.em for p in evaluator.predict(model, probes)]
    outputs = generate_originals(model.eval(), examples, 1)
    texts = [encoder.read_answer(row) for row in outputs]
    greedy = [exact_match(t, p.answers) for t, p in zip(texts, probes, strict=True)]
    assert matches == greedy, "exact matches differ from greedy decoding"

    def theirs(beams: int) -> Variant:
        return lambda: float(len(generate_originals(model, examples, beams)))

    name = f"fki ({sum(matches):.0f} of {len(probes)} correct)"
    return {
        "originals: 2 beams, padded": theirs(2),
        "originals: greedy, padded": theirs(1),
        name: lambda: float(len(evaluator.predict(model, probes))),
    }
