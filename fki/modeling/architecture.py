"""The architecture of a language model: everything that depends on it, in one object.

`seq2seq` is an encoder-decoder such as T5: an input, and a target that the decoder writes.
`causal` is a decoder such as GPT-2, Llama or Qwen: a prompt, and the text that continues it.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from fki.config.model_family import DECODER, ENCODER_DECODER
from fki.config.presets import preset_names
from fki.config.schema import Config
from fki.core.errors import ConfigError
from fki.core.types import CAUSAL_FORMATS, Batch, DocumentObjective, PromptFormat
from fki.data.collator import IGNORE_INDEX, ExampleTokenizer
from fki.modeling import causal, causal_decoding, seq2seq, seq2seq_decoding
from fki.modeling.decoding import DecodedAnswer, EncodedInputs, ForcedAnswer, Pairs, PassKind
from fki.modeling.encoder_cache import FrozenEncoder, detect_frozen_encoder


class Architecture(Protocol):
    """What training, scoring and decoding call; `model` may be prepared by a method."""

    description: str  # in messages
    preset: str  # the general preset of its models
    task_type: str  # in peft
    has_encoder: bool
    auto_class: str  # of transformers, which loads its models
    prompt_formats: tuple[PromptFormat, ...]
    document_objectives: tuple[DocumentObjective, ...]

    def can_pack(self, model: nn.Module) -> bool:
        """May a row hold several examples?"""
        ...

    def logits(self, model: Any, batch: Batch) -> Tensor:
        """Logits [B, U, V] of all positions of the labels."""
        ...

    def scored_logits(self, model: nn.Module, batch: Batch, unwrapped: Any) -> Tensor:
        """Logits [N, V] of the scored positions alone.

        Args:
            model: the module to call, for example wrapped for several processes.
            unwrapped: the same model without the wrapper.
        """
        ...

    def trial_batch(self, model: Any, tokens: int, targets: int) -> Batch:
        """An example with so many input tokens and scored targets, of the ids from 1 on."""
        ...

    def encode(self, model: Any, batch: Batch) -> EncodedInputs:
        """Run the sources of a batch once, for `score_targets` and `decode`."""
        ...

    def stack(self, rows: Sequence[Any]) -> EncodedInputs:
        """A batch of sources as `EncodedInputs.unpadded` returns them."""
        ...

    def score_targets(
        self, model: Any, inputs: EncodedInputs, pairs: Pairs, tokenizer: ExampleTokenizer
    ) -> list[ForcedAnswer]:
        """Score (row of `inputs`, target) pairs in teacher-forced passes, in their order."""
        ...

    def next_log_probabilities(
        self, model: Any, inputs: EncodedInputs, before: list[int]
    ) -> Tensor:
        """Log-probabilities [B, V] of the token after each source and the tokens `before`."""
        ...

    def decode(
        self, model: Any, inputs: EncodedInputs, tokenizer: ExampleTokenizer, *, length: int
    ) -> list[DecodedAnswer]:
        """Decode one answer of at most `length` tokens for each source, greedily."""
        ...

    def beam_search(
        self,
        model: Any,
        inputs: EncodedInputs,
        tokenizer: ExampleTokenizer,
        *,
        length: int,
        beams: int,
        best: int = 1,
    ) -> list[list[list[int]]]:
        """The `best` sequences of each source, the likeliest first."""
        ...

    def pass_kinds(self, model: Any, device: torch.device) -> list[PassKind]:
        """The kinds of passes that scoring and decoding run, with empty ones on a device."""
        ...

    def frozen_encoder(self, model: Any) -> FrozenEncoder | None:
        """The encoder, if it is frozen and its outputs can be cached."""
        ...

    def lower_parameters(self, model: Any) -> list[nn.Parameter]:
        """The base model's parameters that are frozen at freeze_level = 1."""
        ...

    def find_maps(self, model: Any, targets: Sequence[str]) -> list[str]:
        """The names that LoRA's targets have in a model."""
        ...


class Seq2Seq:
    """An encoder-decoder."""

    preset, task_type = ENCODER_DECODER, "SEQ_2_SEQ_LM"
    description, has_encoder = "an encoder-decoder", True
    auto_class = "AutoModelForSeq2SeqLM"
    prompt_formats: tuple[PromptFormat, ...] = ("sentinel", "prefix")
    document_objectives: tuple[DocumentObjective, ...] = ("span_corruption", "salient_spans")

    def can_pack(self, model: Any) -> bool:
        """T5 alone: its relative positions are the same anywhere in a row."""
        return seq2seq.can_pack(model)

    def logits(self, model: Any, batch: Batch) -> Tensor:
        """Logits [B, U, V] of the decoder's positions."""
        return seq2seq.target_logits(model, batch, model.config)

    def scored_logits(self, model: nn.Module, batch: Batch, unwrapped: Any) -> Tensor:
        """Logits [N, V] of the decoder's scored positions."""
        return seq2seq.scored_logits(model, batch, unwrapped)

    def trial_batch(self, model: Any, tokens: int, targets: int) -> Batch:
        """The targets are the decoder's."""
        device = next(model.parameters()).device
        ids = torch.arange(1, tokens + 1, device=device)[None]
        labels = torch.arange(1, targets + 1, device=device)[None]
        return Batch(ids, torch.ones_like(ids), labels, labels.flatten() - 1)

    def encode(self, model: Any, batch: Batch) -> seq2seq_decoding.EncoderStates:
        """Run the encoder."""
        return seq2seq_decoding.encode(model, batch)

    def stack(self, rows: Sequence[Tensor]) -> seq2seq_decoding.EncoderStates:
        """A batch of encoder outputs."""
        return seq2seq_decoding.stack(rows)

    def score_targets(
        self, model: Any, inputs: Any, pairs: Pairs, tokenizer: ExampleTokenizer
    ) -> list[ForcedAnswer]:
        """Score targets from the encoder's output."""
        return seq2seq_decoding.score_targets(model, inputs, pairs, tokenizer)

    def next_log_probabilities(self, model: Any, inputs: Any, before: list[int]) -> Tensor:
        """After the encoder's output."""
        return seq2seq_decoding.next_log_probabilities(model, inputs, before)

    def decode(
        self, model: Any, inputs: Any, tokenizer: ExampleTokenizer, *, length: int
    ) -> list[DecodedAnswer]:
        """Decode from the encoder's output up to EOS."""
        return seq2seq_decoding.decode(model, inputs, length)

    def beam_search(
        self,
        model: Any,
        inputs: Any,
        tokenizer: ExampleTokenizer,
        *,
        length: int,
        beams: int,
        best: int = 1,
    ) -> list[list[list[int]]]:
        """Beam search of `generate` from the encoder's output."""
        return seq2seq_decoding.beam_search(model, inputs, length=length, beams=beams, best=best)

    def pass_kinds(self, model: Any, device: torch.device) -> list[PassKind]:
        """The encoder's, and the decoder's."""
        return seq2seq_decoding.pass_kinds(model, device)

    def frozen_encoder(self, model: Any) -> FrozenEncoder | None:
        """The model's encoder, unless any of its parameters train."""
        return detect_frozen_encoder(model.get_encoder())

    def lower_parameters(self, model: Any) -> list[nn.Parameter]:
        """The encoder and the input embeddings.

        A head that is tied to the embeddings is frozen with them; an untied one is the decoder's.
        """
        return [*model.get_encoder().parameters(), *model.get_input_embeddings().parameters()]

    def find_maps(self, model: Any, targets: Sequence[str]) -> list[str]:
        """The targets themselves: `q` and `v` are T5's own names."""
        return [*targets]


class Causal:
    """A decoder."""

    preset, task_type = DECODER, "CAUSAL_LM"
    description, has_encoder = "a decoder", False
    auto_class = "AutoModelForCausalLM"
    prompt_formats = CAUSAL_FORMATS
    document_objectives: tuple[DocumentObjective, ...] = ("next_token",)

    def can_pack(self, model: nn.Module) -> bool:
        """Where a trial finds that packed examples keep their logits."""
        return causal.can_pack(model)

    def logits(self, model: Any, batch: Batch) -> Tensor:
        """Logits [B, T, V] of all input positions."""
        return causal.logits(model, batch)

    def scored_logits(self, model: nn.Module, batch: Batch, unwrapped: Any) -> Tensor:
        """Logits [N, V] of the scored input positions."""
        return causal.scored_logits(model, batch, unwrapped)

    def trial_batch(self, model: Any, tokens: int, targets: int) -> Batch:
        """The targets belong to the last input positions."""
        rows = [[*range(1, tokens + 1)]]
        batch = causal.make_batch(rows, [[tokens]], model)
        labels = batch.labels.clone()
        labels[:, : tokens - targets] = IGNORE_INDEX
        return batch._replace(labels=labels, scored_positions=batch.scored_positions[-targets:])

    def encode(self, model: Any, batch: Batch) -> causal_decoding.PromptStates:
        """Run the prompts."""
        return causal_decoding.encode(model, batch)

    def stack(self, rows: Sequence[causal_decoding.Prompt]) -> causal_decoding.PromptStates:
        """A batch of prompts."""
        return causal_decoding.stack(rows)

    def score_targets(
        self, model: Any, inputs: Any, pairs: Pairs, tokenizer: ExampleTokenizer
    ) -> list[ForcedAnswer]:
        """Score targets after their prompts."""
        return causal_decoding.score_targets(model, inputs, pairs, tokenizer)

    def next_log_probabilities(self, model: Any, inputs: Any, before: list[int]) -> Tensor:
        """After the prompts."""
        return causal_decoding.next_log_probabilities(model, inputs, before)

    def decode(
        self, model: Any, inputs: Any, tokenizer: ExampleTokenizer, *, length: int
    ) -> list[DecodedAnswer]:
        """Decode after the prompts, up to the end token or a newline."""
        return causal_decoding.decode(model, inputs, length, tokenizer)

    def beam_search(
        self,
        model: Any,
        inputs: Any,
        tokenizer: ExampleTokenizer,
        *,
        length: int,
        beams: int,
        best: int = 1,
    ) -> list[list[list[int]]]:
        """Beam search of `generate` after the prompts."""
        return causal_decoding.beam_search(
            model, inputs, tokenizer, length=length, beams=beams, best=best
        )

    def pass_kinds(self, model: Any, device: torch.device) -> list[PassKind]:
        """One kind."""
        return causal_decoding.pass_kinds(model, device)

    def frozen_encoder(self, model: Any) -> FrozenEncoder | None:
        """None: a decoder has no encoder."""
        return None

    def lower_parameters(self, model: Any) -> list[nn.Parameter]:
        """The embeddings and the lower half of the blocks; a tied head is an embedding."""
        return causal.lower_half(model)

    def find_maps(self, model: Any, targets: Sequence[str]) -> list[str]:
        """`q` and `v` are the query and value maps by any name; other targets are names."""
        return causal.find_maps(model, targets)


SEQ2SEQ, CAUSAL = Seq2Seq(), Causal()


def architecture_of(model: Any) -> Architecture:
    """The architecture of a base model, or of one that a method has prepared."""
    return SEQ2SEQ if model.config.is_encoder_decoder else CAUSAL


def check_fits_model(config: Config, model: Any) -> None:
    """Raises ConfigError if a setting is for models of another architecture."""
    architecture = architecture_of(model)
    fitting = {
        "prompt_format": architecture.prompt_formats,
        "document_objective": architecture.document_objectives,
    }
    for name, values in fitting.items():
        if (value := getattr(config, name)) not in values:
            raise ConfigError(
                f"{name} = '{value}' does not fit '{config.model}', {architecture.description}; "
                f"it must be {' or '.join(map(repr, values))}.",
                hint=f"Presets for such models: --preset {_suggest_preset(config, architecture)}",
            )
    if config.shots and architecture.has_encoder:
        raise ConfigError(
            f"shots = {config.shots} is for decoders; '{config.model}' is "
            f"{architecture.description}.",
            hint="Add: --set shots=0",
        )
    if config.coreset == "loss_net" and not architecture.has_encoder:
        raise ConfigError(
            f"coreset = 'loss_net' reads an encoder's states; '{config.model}' is a decoder.",
            hint="Add: --set coreset=k_center",
        )


def _suggest_preset(config: Config, architecture: Architecture) -> str:
    """The preset of the method for an architecture; the general one if there is none."""
    own = f"{architecture.preset}_{config.method}"
    return own if own in preset_names() else architecture.preset
