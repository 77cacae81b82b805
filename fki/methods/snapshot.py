"""A copy of a model's trainable weights, which can take the place of the current ones."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from fki.core.errors import DataError
from fki.modeling.sharding import shard_like


class Snapshot:
    """The trainable weights of a model at one moment."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        """`weights`: by parameter name; not copied."""
        self.weights = dict(weights)

    @classmethod
    def take(cls, model: nn.Module) -> "Snapshot":
        """Copy the trainable weights, on their device."""
        parameters = model.named_parameters()
        return cls({name: p.detach().clone() for name, p in parameters if p.requires_grad})

    def restore(self, model: nn.Module) -> None:
        """Write the copied weights into the model. Raises DataError if they do not fit."""
        with torch.no_grad():
            for parameter, weight in self._pairs(model):
                parameter.copy_(weight)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Within the context the model has the copied weights, in evaluation mode, no gradients.

        Raises DataError if the weights do not fit the model.
        """
        pairs = self._pairs(model)
        was_training = model.training
        data = [parameter.data for parameter, _ in pairs]
        try:
            for parameter, weight in pairs:
                parameter.data = weight
            torch.clear_autocast_cache()  # its casts of weights are kept by parameter
            model.eval()
            with torch.no_grad():
                yield
        finally:
            for (parameter, _), own in zip(pairs, data, strict=True):
                parameter.data = own
            torch.clear_autocast_cache()
            model.train(was_training)

    def _pairs(self, model: nn.Module) -> list[tuple[nn.Parameter, Tensor]]:
        parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        wrong = parameters.keys() ^ self.weights.keys() or {
            name for name, p in parameters.items() if p.shape != self.weights[name].shape
        }
        if wrong:
            raise DataError(f"A stored copy of the weights does not fit the model: {min(wrong)}.")
        return [(p, shard_like(self.weights[name], p)) for name, p in parameters.items()]
