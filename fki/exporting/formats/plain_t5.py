"""Code that the formats for plain T5 models share."""

from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from fki.core.errors import CannotFold, ConfigError
from fki.runs.open_run import LoadedModel

MODEL_TYPES = ("t5", "mt5")


def fold_to_t5(loaded: LoadedModel, runtime: str) -> Any:
    """The plain T5 that the method folds into.

    Raises CannotFold where the method has no plain model, ConfigError where it is not a T5.
    """
    try:
        model = loaded.method.fold(loaded.model)
    except CannotFold:
        raise CannotFold(
            f"{loaded.config.method} adds modules that {runtime}'s T5 cannot hold.",
            hint="Try: --to onnx",
        ) from None
    if model.config.model_type not in MODEL_TYPES:
        raise ConfigError(
            f"fki exports T5 and mT5 for {runtime}, not '{model.config.model_type}'.",
            hint="Try: --to onnx",
        )
    return model


@torch.no_grad()
def measure_head_scale(model: Any) -> float:
    """The factor between the decoder's output and the head's input, measured by a forward pass.

    The config does not state it: `tie_word_embeddings`, which did, is true for every T5 in
    transformers 5. The factor does not change the likeliest token; it changes beams and
    probabilities.
    """
    inputs: list[torch.Tensor] = []
    hook = model.lm_head.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    try:
        start = torch.full((1, 1), model.config.decoder_start_token_id, device=model.device)
        out = model(input_ids=start, decoder_input_ids=start, output_hidden_states=True)
    finally:
        hook.remove()
    return float(inputs[0].norm() / out.decoder_hidden_states[-1].norm())


def list_vocabulary(tokenizer: PreTrainedTokenizerBase, size: int) -> list[str]:
    """A token for each row of the embeddings; rows beyond the tokenizer get `<unused_N>`."""
    known = {id: token for token, id in tokenizer.get_vocab().items()}
    return [known.get(id, f"<unused_{id}>") for id in range(size)]
