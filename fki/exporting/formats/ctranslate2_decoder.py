"""`ctranslate2` and `ctranslate2_int8` of decoders, by CTranslate2's own loaders of each family.

The loaders leave out what a model of transformers 5 states in other places than before: the base of
rotary positions, the scaling of Llama 3, the width of a head, Gemma's scale of the queries and the
epsilon of norms. The exporter adds them to the specification. The parity check decides in the end.
"""

import copy
import gc
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from fki.core.formatting import quote_python
from fki.data.collator import ExampleTokenizer
from fki.exporting.formats.base import Format, import_library
from fki.exporting.formats.plain_decoder import (
    GENERATION,
    PLAIN_ROPE,
    build_refusal,
    check_family,
    fold_decoder,
    read_endings,
    read_rope,
    write_endings,
)
from fki.exporting.formats.plain_t5 import list_vocabulary
from fki.modeling.decoding import MAX_TARGET_TOKENS
from fki.modeling.runtime import iter_batches
from fki.runs.open_run import LoadedModel

ctranslate2: Any = import_library("ctranslate2", extra="ctranslate2")

RUNTIME = "CTranslate2"
# Those whose logits a test compares. Others that the library lists fail with transformers 5 (phi,
# phi3, gpt_neox, falcon, mpt) or leave out a part of the model (gemma2: the caps of its logits).
FAMILIES = (
    "bloom",
    "codegen",
    "gemma",
    "gemma3_text",
    "gpt2",
    "gpt_bigcode",
    "gptj",
    "llama",
    "mistral",
    "opt",
    "qwen2",
    "qwen3",
)
FIXED_SILU = ("llama", "mistral", "qwen2", "qwen3")  # the loaders read no activation
PERMUTED = ("gptj",)  # by the loader, in the model's own tensors
ROPE_TYPES = (PLAIN_ROPE, "linear", "llama3")
EPSILONS = ("rms_norm_eps", "layer_norm_epsilon", "layer_norm_eps")
VOCABULARY = "vocabulary.json"  # the file's name in CTranslate2
FULL_PATIENCE = (
    1000.0  # beams: search on to the last token; it would stop where `generate` does not
)


def check(loaded: LoadedModel) -> None:
    """Raises ConfigError for a decoder that CTranslate2 cannot hold."""
    check_family(loaded, RUNTIME, FAMILIES)
    config: Any = loaded.base.model.config
    if config.model_type in FIXED_SILU and config.hidden_act not in ("silu", "swish"):
        raise build_refusal(loaded, RUNTIME, f"its activation is '{config.hidden_act}', not 'silu'")
    kind = read_rope(config, 0).get("rope_type", PLAIN_ROPE)
    if kind not in ROPE_TYPES:
        raise build_refusal(loaded, RUNTIME, f"its rotary positions are scaled by '{kind}'")
    room = loaded.config.input_length + loaded.config.output_length
    window = getattr(config, "sliding_window", None)
    if window and getattr(config, "use_sliding_window", True) and window < room:
        why = f"its attention window of {window} tokens is shorter than prompt and answer ({room})"
        raise build_refusal(loaded, RUNTIME, why)


def write_quantized(kind: str, loaded: LoadedModel, folder: Path) -> None:
    """Raises CannotFold where the method has no plain model, ConfigError where it has no loader."""
    model = fold_decoder(loaded, RUNTIME).cpu()
    try:
        spec = build_spec(model, loaded.base.tokenizer)
        spec.validate()
    except Exception as error:  # the loaders raise many types for settings that they do not expect
        why = f"its converter fails with {type(error).__name__}: {error}"
        raise build_refusal(loaded, RUNTIME, why) from error
    spec.optimize(quantization=kind)
    spec.save(str(folder))
    write_endings(model, loaded, folder)


@torch.no_grad()
def build_spec(model: Any, tokenizer: PreTrainedTokenizerBase) -> Any:
    """CTranslate2's specification of a decoder."""
    from ctranslate2.converters.transformers import _MODEL_LOADERS

    config = model.config
    loader = _MODEL_LOADERS[type(config).__name__]
    gc.freeze()  # the loaders collect garbage after each block; of torch alone that takes a second
    try:
        spec = loader.get_model_spec(_share_weights(model))
    finally:
        gc.unfreeze()
    for layer, block in enumerate(spec.decoder.layer):
        _complete_attention(block.self_attention, config, layer)
    loader.set_config(spec.config, model, tokenizer)
    # the library's own defaults are tokens that a vocabulary need not have
    spec.config.bos_token = tokenizer.bos_token or tokenizer.eos_token
    spec.config.eos_token = tokenizer.eos_token
    spec.config.unk_token = tokenizer.unk_token or ""
    spec.config.layer_norm_epsilon = next(
        (getattr(config, name) for name in EPSILONS if hasattr(config, name)), None
    )
    loader.set_vocabulary(spec, list_vocabulary(tokenizer, config.vocab_size))
    return spec


def _share_weights(model: Any) -> Any:
    """A copy of the modules over the same weights; the loaders delete modules that they read.

    Weights that a loader permutes in place are copied too.
    """
    if model.config.model_type in PERMUTED:
        return copy.deepcopy(model)
    weights = {id(t): t for t in (*model.parameters(), *model.buffers())}
    return copy.deepcopy(model, weights)


def _complete_attention(attention: Any, config: Any, layer: int) -> None:
    """Add what the loaders leave out of a block's attention.

    Sources: the names of `attention_layer.cc` in CTranslate2, and transformers' configs.
    """
    added: dict[str, Any] = {}
    rope = read_rope(config, layer)
    if "rope_theta" in rope and hasattr(attention, "rotary_base"):
        added["rotary_base"] = np.float32(rope["rope_theta"])
        if rope["rope_type"] == "llama3":
            added["rotary_scaling_factor"] = np.float32(rope["factor"])
            added["original_max_position_embeddings"] = np.int32(
                rope["original_max_position_embeddings"]
            )
    if scale := getattr(config, "query_pre_attn_scalar", None):
        added["queries_scale"] = np.float32(scale**-0.5)
    if width := getattr(config, "head_dim", None):
        added["head_dim"] = np.int32(width)
    vars(attention).update(added)  # a specification refuses names that its class does not have


class GeneratorRuntime:
    """CTranslate2's generator on the CPU."""

    has_beams = True

    def __init__(self, folder: Path, kind: str) -> None:
        self.model = ctranslate2.Generator(
            str(folder), compute_type=kind, intra_threads=torch.get_num_threads()
        )
        self.tokens: list[str] = json.loads((folder / VOCABULARY).read_text(encoding="utf-8"))
        self.ends = read_endings(folder)

    def generate(
        self, sources: Sequence[list[int]], *, length: int, beams: int = 1, best: int = 1
    ) -> list[list[list[int]]]:
        """Greedy with one beam."""
        results = []
        for prompts in iter_batches(sources):
            results += self.model.generate_batch(
                self._named(prompts),
                beam_size=beams,
                patience=FULL_PATIENCE if beams > 1 else 1,
                num_hypotheses=best,
                include_prompt_in_result=False,
                end_token=self.ends,
                return_end_token=True,
                max_length=length,
                min_length=0,
            )
        return [result.sequences_ids for result in results]

    def score(self, sources: Sequence[list[int]], targets: Sequence[list[int]]) -> list[float]:
        """Teacher-forced: CTranslate2 scores every token of a text but its first."""
        texts = [source + target for source, target in zip(sources, targets, strict=True)]
        results = self.model.score_batch(
            self._named(texts),
            max_input_length=0,
            max_batch_size=MAX_TARGET_TOKENS,
            batch_type="tokens",
        )
        pairs = zip(results, targets, strict=True)
        return [sum(result.log_probs[-len(target) :]) for result, target in pairs]

    def _named(self, rows: Sequence[list[int]]) -> list[list[str]]:
        return [[self.tokens[id] for id in row] for row in rows]


def loading_code(folder: Path, name: str) -> str:
    """Loads a generator of tokens."""
    return (
        "import json\n"
        "from ctranslate2 import Generator\n"
        "from tokenizers import Tokenizer\n"
        f"model = Generator({quote_python(name)})\n"
        f"tokenizer = Tokenizer.from_file({quote_python(name + '/tokenizer.json')})"
    )


def asking_code(name: str, prompt: str, length: int) -> str:
    """Prints the greedy answer."""
    return (
        f"with open({quote_python(f'{name}/{GENERATION}')}) as file:\n"
        '    ends = json.load(file)["eos_token_id"]\n'
        f"prompt = tokenizer.encode({quote_python(prompt)}, add_special_tokens=False).tokens\n"
        "[found] = model.generate_batch(\n"
        f"    [prompt], max_length={length}, include_prompt_in_result=False, end_token=ends\n"
        ")\n"
        "print(tokenizer.decode(found.sequences_ids[0]))"
    )


def _make_format(name: str, kind: str, **how: Any) -> Format:
    def load(folder: Path, encoder: ExampleTokenizer) -> GeneratorRuntime:
        return GeneratorRuntime(folder, kind)

    return Format(
        name,
        RUNTIME,
        lambda loaded, folder: write_quantized(kind, loaded, folder),
        load,
        library="ctranslate2",
        check=check,
        loading_code=loading_code,
        asking_code=asking_code,
        **how,
    )


FLOAT32 = _make_format("ctranslate2", "float32")
INT8 = _make_format(
    "ctranslate2_int8",
    "int8",
    tolerance=3.0,
    least_same=0.75,
    em_tolerance=5.0,
    precision="int8",
    reason="8 bits a weight, as for T5",
    bytes_per_parameter=2.0,
)
