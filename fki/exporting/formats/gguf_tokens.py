"""The tokenizer of a decoder as metadata of a GGUF file.

llama.cpp has two kinds for decoders. "gpt2" is byte-level BPE: it stores merges and the name of a
rule that splits a text before them. "llama" is BPE as SentencePiece has it, with bytes for unknown
characters: it stores a score for each token in place of merges.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from fki.data.causal_tokenizer import CausalTokenizer
from fki.exporting.formats.gguf_file import gguf
from fki.exporting.formats.plain_t5 import list_vocabulary

SPACE = "\u2581"  # of SentencePiece
# The rules of llama.cpp (src/llama-vocab.cpp), by its names for them.
LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2_SPLIT = LLAMA3_SPLIT.replace(r"\p{N}{1,3}", r"\p{N}")
SPLITS = {LLAMA3_SPLIT: "llama-bpe", QWEN2_SPLIT: "qwen2"}


def describe_tokenizer(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """The kind of a tokenizer in llama.cpp: its `model`, and its `pre` or `add_space_prefix`.

    Raises ValueError, whose text completes "its tokenizer ...", where llama.cpp has no such kind.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    content = json.loads(backend.to_str()) if backend is not None else {"model": {}}
    kind = content["model"].get("type")
    if kind != "BPE":
        raise ValueError(f"is {kind or 'of another library'}, not BPE")
    parts = _flatten(content["pre_tokenizer"], "pretokenizers")
    normal = _flatten(content["normalizer"], "normalizers")
    if any(part["type"] == "ByteLevel" for part in parts):
        if any(part["type"] != "NFC" for part in normal):
            raise ValueError("changes texts before it splits them")
        return {"model": "gpt2", "pre": _name_split(parts, content["model"])}
    prefixes = [part for part in normal if part["type"] == "Prepend"] + [
        part
        for part in parts
        if part["type"] == "Metaspace" and part.get("prepend_scheme") != "never"
    ]
    spaces = [part for part in (*normal, *parts) if SPACE in json.dumps(part, ensure_ascii=False)]
    if not content["model"].get("byte_fallback") or not spaces:
        raise ValueError("is BPE of neither bytes nor SentencePiece")
    return {"model": "llama", "add_space_prefix": bool(prefixes)}


def _flatten(part: Mapping[str, Any] | None, name: str) -> list[Mapping[str, Any]]:
    """The steps of a pre-tokenizer or normalizer."""
    if part is None:
        return []
    return [*part[name]] if part["type"] == "Sequence" else [part]


def _name_split(parts: Sequence[Mapping[str, Any]], model: Mapping[str, Any]) -> str:
    """llama.cpp's name of the rule that splits a text. Raises ValueError where it has none."""
    *first, last = parts
    steps = [part["type"] for part in first]
    name = ""
    if last["type"] == "ByteLevel" and not last["add_prefix_space"]:
        if last["use_regex"] and not steps:
            name = "gpt-2"
        elif last["use_regex"] and steps == ["Digits"] and first[0]["individual_digits"]:
            name = "smollm"
        elif not last["use_regex"] and steps == ["Split"]:
            name = SPLITS.get(first[0]["pattern"].get("Regex", ""), "")
    if not name or bool(model.get("ignore_merges")) != (name == "llama-bpe"):
        raise ValueError("splits texts by a rule that llama.cpp has no name for")
    return name


def add_tokens(writer: Any, tokenizer: CausalTokenizer, size: int) -> None:
    """Add the tokenizer with `size` tokens, and the start token that fki's prompts have."""
    own = tokenizer.tokenizer
    kind, tokens = describe_tokenizer(own), list_vocabulary(own, size)
    content = json.loads(own.backend_tokenizer.to_str())["model"]
    writer.add_tokenizer_model(kind["model"])
    writer.add_tokenizer_pre(kind.get("pre", "default"))
    writer.add_token_list(tokens)
    writer.add_token_types(_list_types(own, tokens))
    if kind["model"] == "gpt2":
        writer.add_token_merges([" ".join(pair) for pair in _list_merges(content)])
    else:
        writer.add_token_scores(score_tokens(_list_merges(content), tokens))
        writer.add_add_space_prefix(kind["add_space_prefix"])
    for name in ("bos", "eos", "pad", "unk"):
        if (id := getattr(own, f"{name}_token_id")) is not None:
            getattr(writer, f"add_{name}_token_id")(id)
    writer.add_add_bos_token(tokenizer.start == [own.bos_token_id])
    writer.add_add_eos_token(False)
    if isinstance(own.chat_template, str):
        writer.add_chat_template(own.chat_template)


def _list_merges(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The merges, the first to apply first; older files of tokenizers write a pair as one text."""
    pairs = (pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"])
    return [(first, second) for first, second in pairs]


def score_tokens(merges: Sequence[tuple[str, str]], tokens: Sequence[str]) -> list[float]:
    """A score for each token: the merges in their order, below 0; 0 for tokens of no merge."""
    ranks: dict[str, int] = {}
    for rank, (first, second) in enumerate(merges, 1):
        ranks.setdefault(first + second, rank)
    return [-float(ranks.get(token, 0)) for token in tokens]


def _list_types(tokenizer: PreTrainedTokenizerBase, tokens: Sequence[str]) -> list[Any]:
    kinds, added = gguf.TokenType, tokenizer.added_tokens_decoder
    types = []
    for id, token in enumerate(tokens):
        kind = kinds.NORMAL
        if token == tokenizer.unk_token and token not in (tokenizer.eos_token, tokenizer.bos_token):
            kind = kinds.UNKNOWN
        elif id in added:
            kind = kinds.CONTROL if added[id].special else kinds.USER_DEFINED
        elif token == f"<unused_{id}>":
            kind = kinds.UNUSED
        elif token.startswith("<0x") and len(token) == 6:
            kind = kinds.BYTE
        types.append(kind)
    return types
