"""What formats for plain T5s alone have in common."""

from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from fki.core.errors import CannotFold, ConfigError
from fki.runs.open_run import LoadedModel

MODEL_TYPES = ("t5", "mt5")


def fold_to_t5(opened: LoadedModel, runtime: str) -> Any:
    """The plain model that behaves as the method's, for a runtime that knows no other.

    Raises CannotFold where there is none, ConfigError where it is no T5.
    """
    try:
        model = opened.method.fold(opened.model)
    except CannotFold:
        raise CannotFold(
            f"{opened.config.method} adds parts that {runtime}'s T5 has no place for.",
            hint="Try: --to onnx",
        ) from None
    if model.config.model_type not in MODEL_TYPES:
        raise ConfigError(
            f"For {runtime}, fki writes T5 and mT5, not '{model.config.model_type}'.",
            hint="Try: --to onnx",
        )
    return model


@torch.no_grad()
def measure_head_scale(model: Any) -> float:
    """What the decoder's output is multiplied with before the head reads it, found by a trial.

    Configs do not tell: `tie_word_embeddings`, which once did, is true of every T5 in
    transformers 5. The likeliest token is the same either way, beams and probabilities are not.
    """
    seen: list[torch.Tensor] = []
    hook = model.lm_head.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    try:
        start = torch.full((1, 1), model.config.decoder_start_token_id, device=model.device)
        out = model(input_ids=start, decoder_input_ids=start, output_hidden_states=True)
    finally:
        hook.remove()
    return float(seen[0].norm() / out.decoder_hidden_states[-1].norm())


def list_vocabulary(tokenizer: PreTrainedTokenizerBase, size: int) -> list[str]:
    """A token for each row of the embeddings, of which there may be more than the tokenizer has."""
    known = {id: token for token, id in tokenizer.get_vocab().items()}
    return [known.get(id, f"<unused_{id}>") for id in range(size)]
