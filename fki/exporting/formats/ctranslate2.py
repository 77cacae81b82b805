"""`ctranslate2` and `ctranslate2_int8`: a plain T5 for CTranslate2, in fp32 or quantized to int8.

Decoders have a module of their own, `ctranslate2_decoder`.

CTranslate2's converter scales the head's input where `tie_word_embeddings` is true, and it is true
for every T5 in transformers 5. The scale does not change the likeliest token; it changes beams and
probabilities. So the exporter measures the scale of the model.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from fki.core.formatting import quote_python
from fki.exporting.formats import ctranslate2_decoder as decoder
from fki.exporting.formats.base import Format
from fki.exporting.formats.ctranslate2_decoder import FULL_PATIENCE, ctranslate2
from fki.exporting.formats.plain_t5 import fold_to_t5, list_vocabulary, measure_head_scale
from fki.modeling.runtime import iter_batches
from fki.runs.open_run import LoadedModel

VOCABULARY = "shared_vocabulary.json"  # the file's name in CTranslate2


def write_quantized(kind: str, loaded: LoadedModel, folder: Path) -> None:
    """Raises CannotFold where the method has no plain model, ConfigError where it is not a T5."""
    spec = build_spec(fold_to_t5(loaded, "CTranslate2").cpu(), loaded.base.tokenizer)
    spec.validate()
    spec.optimize(quantization=kind)
    spec.save(str(folder))


def build_spec(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Any:
    """CTranslate2's specification of the model, with the measured scale of the head's input."""
    from ctranslate2.converters.transformers import T5Loader
    from ctranslate2.specs.model_spec import OPTIONAL

    config: Any = model.config
    loader = T5Loader()
    spec = loader.get_model_spec(model)
    scale = measure_head_scale(model)
    spec.decoder.scale_outputs = OPTIONAL if math.isclose(scale, 1, rel_tol=1e-3) else scale
    loader.set_config(spec.config, model, tokenizer)
    spec.config.add_attribute("layer_norm_epsilon", config.layer_norm_epsilon)
    loader.set_vocabulary(spec, list_vocabulary(tokenizer, config.vocab_size))
    return spec


class CTranslate2Runtime:
    """CTranslate2 on the CPU."""

    has_beams = True

    def __init__(self, folder: Path, kind: str) -> None:
        self.model = ctranslate2.Translator(
            str(folder), compute_type=kind, intra_threads=torch.get_num_threads()
        )
        self.tokens: list[str] = json.loads((folder / VOCABULARY).read_text(encoding="utf-8"))
        self.ids = {token: id for id, token in reversed([*enumerate(self.tokens)])}
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.end = self.ids[settings["eos_token"]]

    def generate(
        self, sources: Sequence[list[int]], *, length: int, beams: int = 1, best: int = 1
    ) -> list[list[list[int]]]:
        """Greedy with one beam."""
        results = []
        for batch_sources in iter_batches(sources):
            results += self.model.translate_batch(
                self._named(batch_sources),
                beam_size=beams,
                patience=FULL_PATIENCE if beams > 1 else 1,
                num_hypotheses=best,
                return_end_token=True,
                max_input_length=0,
                max_decoding_length=length,
                min_decoding_length=0,
            )
        return [[[self.ids[t] for t in row] for row in result.hypotheses] for result in results]

    def score(self, sources: Sequence[list[int]], targets: Sequence[list[int]]) -> list[float]:
        """Teacher-forced. CTranslate2 appends EOS itself, also to a target without EOS."""
        scores: list[float] = []
        for batch_sources, batch_targets in zip(
            iter_batches(sources), iter_batches(targets), strict=True
        ):
            without_end = [
                [token for token in target if token != self.end] for target in batch_targets
            ]
            results = self.model.score_batch(
                self._named(batch_sources), self._named(without_end), max_input_length=0
            )
            pairs = zip(results, batch_targets, strict=True)
            scores += [sum(result.log_probs[: len(target)]) for result, target in pairs]
        return scores

    def _named(self, rows: Sequence[list[int]]) -> list[list[str]]:
        return [[self.tokens[id] for id in row] for row in rows]


def loading_code(folder: Path, name: str) -> str:
    """Loads a translator of tokens."""
    return (
        "from ctranslate2 import Translator\n"
        "from tokenizers import Tokenizer\n"
        f"model = Translator({quote_python(name)})\n"
        f"tokenizer = Tokenizer.from_file({quote_python(name + '/tokenizer.json')})"
    )


def _make_format(name: str, kind: str, **how: Any) -> Format:
    return Format(
        name,
        "CTranslate2",
        lambda loaded, folder: write_quantized(kind, loaded, folder),
        lambda folder, encoder: CTranslate2Runtime(folder, kind),
        library="ctranslate2",
        loading_code=loading_code,
        **how,
    )


FLOAT32 = _make_format("ctranslate2", "float32", decoder=decoder.FLOAT32)
INT8 = _make_format(
    "ctranslate2_int8",
    "int8",
    tolerance=3.0,
    least_same=0.75,
    em_tolerance=5.0,
    precision="int8",
    reason="8 bits a weight: t5-mini's answers differ by up to 0.8, and 4 % of its texts",
    bytes_per_parameter=2.0,
    decoder=decoder.INT8,
)
