"""Coresets: the part of each optimizer batch that is trained.

Of B examples, m = max(1, round(B * coreset_ratio)) are selected:

`random`: uniformly, without replacement.

`k_center`: by the greedy solution of the k-center problem (Sener and Savarese, 2018, algorithm 1),
which has at most twice the radius of the optimum (Gonzalez, 1985). An example is the mean of its
source's input embeddings, without padding; the first center is drawn at random.

`loss_net`: those with the largest losses, as `modeling/loss_net.py` predicts them (Yoo and Kweon,
2019). Its module is trained on the losses of the selected examples, beside the model; it is part of
checkpoints, and never of exports.

A selection is a function of the seed, the place of the batch in its period and the weights before
it; the optimizer steps of `repeat_num` share it. In CFInjectBench, `random` selected the first ten
examples of each batch, and mean embeddings contained padding.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Tensor, nn
from torch.nn import functional

from fki.config.schema import Config
from fki.core.errors import DataError
from fki.data.collator import ExampleTokenizer, TokenizedExample
from fki.methods.adafactor import Adafactor
from fki.modeling.flops import FlopEstimator
from fki.modeling.loss_net import LossNet, encoder_shape, pool_encoder_states, ranking_loss
from fki.training.batching import derive_seed
from fki.training.loss_record import LossRecord

LOSS_NET_DECAY = 5e-4  # weight decay of the loss net's matrices, as in its paper


def coreset_size(examples: int, ratio: float) -> int:
    """The number of examples that are selected from a batch; at least 1."""
    return max(1, round(examples * ratio))


def select_random(examples: int, count: int, seed: int) -> list[int]:
    """`count` different numbers below `examples`, in ascending order."""
    order = torch.randperm(examples, generator=torch.Generator().manual_seed(seed))
    return sorted(order[:count].tolist())


def select_k_center(points: Tensor, count: int, first: int) -> Tensor:
    """The indices [count] of the greedy centers of points [B, D], `first` first.

    Each further center is the point with the largest distance to its nearest center; of several,
    the one with the smallest index. Equal points are selected only if no other is left.
    """
    nearest = points.new_full((len(points),), float("inf"))  # squared distance to a center
    chosen = torch.zeros(count, dtype=torch.long, device=points.device)
    chosen[0] = first
    for number in range(count):
        if number:
            chosen[number] = nearest.argmax()
        at = chosen[number]
        nearest = torch.minimum(nearest, (points - points[at]).square().sum(1))
        nearest[at] = -1  # not again
    return chosen


@torch.no_grad()
def mean_embeddings(
    model: Any, examples: Sequence[TokenizedExample], device: torch.device
) -> Tensor:
    """The mean input embedding [B, D] of each source, in fp32."""
    table = model.get_input_embeddings().weight
    lengths = torch.tensor([len(e.source) for e in examples], device=device)
    ids = torch.tensor([token for e in examples for token in e.source], device=device)
    starts = lengths.cumsum(0) - lengths
    return functional.embedding_bag(ids, table.float(), starts, mode="mean")


class Place(NamedTuple):
    """The place of an optimizer batch in its period."""

    epoch: int
    number: int  # of the batch in the epoch, from 0; its repetitions share it


class Selection(NamedTuple):
    """The examples that are trained of a batch."""

    indices: list[int]  # ascending
    flops: float  # of the selection


class Coreset:
    """Selects the trained examples of each optimizer batch; every process selects the same."""

    def __init__(
        self,
        model: nn.Module,
        config: Config,
        tokenizer: ExampleTokenizer,
        accelerator: Accelerator,
        estimator: FlopEstimator,
    ) -> None:
        self.model, self.config, self.tokenizer = model, config, tokenizer
        self.accelerator, self.estimator = accelerator, estimator
        self.predictor = LossPredictor(model, config, accelerator) if self.learns else None
        self._place: Place | None = None  # of the last selection
        self._indices: list[int] = []
        self._numbers: dict[int, int] = {}  # by the identity of a trained example
        self._record = LossRecord.of_size(0, accelerator.device)  # of the current step

    @property
    def is_on(self) -> bool:
        """Is a part of each batch left out?"""
        return self.config.coreset != "none"

    @property
    def is_pure(self) -> bool:
        """Does a selection depend on the place of its batch alone?"""
        return self.config.coreset in ("none", "random")

    @property
    def learns(self) -> bool:
        """Does the selection learn from the losses of the selected examples?"""
        return self.config.coreset == "loss_net"

    def size(self, examples: int) -> int:
        """The number of trained examples of a batch."""
        return coreset_size(examples, self.config.coreset_ratio) if self.is_on else examples

    def place(self, epoch: int, step: int) -> Place:
        """The place of the batch of an optimizer step of an epoch, from 0."""
        return Place(epoch, step // self.config.repeat_num)

    def begin_period(self) -> None:
        """Forget the last batch, and reset the optimizer of the loss net as that of the model."""
        self._place = None
        if self.predictor and self.config.reset_optimizer_per_period:
            self.predictor.reset_optimizer()

    def select(self, examples: Sequence[TokenizedExample], period: str, place: Place) -> Selection:
        """Select from a batch; a repeated batch keeps its selection, at no cost."""
        if place == self._place:
            return Selection(self._indices, 0.0)
        count = self.size(len(examples))
        seed = derive_seed(self.config.seed, "coreset", period, *place)
        if self.predictor:
            self._indices = self.predictor.select(examples, count, self.tokenizer)
        elif self.config.coreset == "k_center":
            self._indices = self._select_centers(examples, count, seed)
        else:
            self._indices = self._select_random(examples, period, place)
        self._place = place
        return Selection(self._indices, self.count_flops(examples))

    def preview(
        self, examples: list[TokenizedExample], period: str, place: Place
    ) -> list[TokenizedExample]:
        """The trained examples of a batch, for plans before training.

        Exact for `random`; otherwise a random selection of the same size.
        """
        if not self.is_on:
            return examples
        chosen = self._select_random(examples, period, place)
        return [examples[i] for i in chosen]

    def _select_random(
        self, examples: Sequence[TokenizedExample], period: str, place: Place
    ) -> list[int]:
        seed = derive_seed(self.config.seed, "coreset", period, *place)
        return select_random(len(examples), self.size(len(examples)), seed)

    def _select_centers(
        self, examples: Sequence[TokenizedExample], count: int, seed: int
    ) -> list[int]:
        points = mean_embeddings(self.model, examples, self.accelerator.device)
        centers = select_k_center(points, count, seed % len(examples))
        if self.accelerator.num_processes > 1:
            centers = broadcast(centers)  # rounding may differ on another device
        return sorted(centers.tolist())

    def count_flops(self, examples: Sequence[TokenizedExample]) -> float:
        """Floating-point operations of selecting from a batch, and of training the loss net."""
        count, tokens = self.size(len(examples)), sum(len(e.source) for e in examples)
        if self.predictor:
            weights = sum(p.numel() for p in self.predictor.net.parameters() if p.ndim >= 2)
            encoder = self.estimator.encoder_forward * tokens
            return encoder + weights * (2.0 * len(examples) + 6.0 * count)
        if self.config.coreset == "k_center":
            width = self.model.get_input_embeddings().embedding_dim  # type: ignore[operator]
            return float(width * (tokens + 3 * count * len(examples)))
        return 0.0

    def begin_step(self, examples: Sequence[TokenizedExample]) -> None:
        """Record the losses of these selected examples from now on, if they are learned from."""
        if self.predictor:
            self._numbers = {id(example): number for number, example in enumerate(examples)}
            self._record = LossRecord.of_size(len(examples), self.accelerator.device)

    def add_losses(self, members: Sequence[TokenizedExample], nats: Tensor) -> None:
        """Record a forward pass over selected examples; `nats` [scored tokens]."""
        if self.predictor:
            numbered = [e._replace(number=self._numbers[id(e)]) for e in members]
            self._record.add(numbered, nats)

    def learn(self) -> None:
        """Train the loss net on the losses of the step, in a step of its own."""
        if self.predictor and self.predictor.has_selected:
            self.predictor.learn(self._record.gather(self.accelerator).losses()[1])

    def state(self) -> dict[str, Tensor]:
        """The loss net, and the last selection if its batch may be repeated."""
        state = self.predictor.state() if self.predictor else {}
        if self._place is not None and self.config.repeat_num > 1 and not self.is_pure:
            state["place"] = torch.tensor(self._place)
            state["indices"] = torch.tensor(self._indices)
        return state

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over a stored state. Raises DataError if it does not fit."""
        if "place" in state:
            self._place = Place(*state["place"].tolist())
            self._indices = state["indices"].tolist()
        if self.predictor:
            self.predictor.load_state(state)


class LossPredictor:
    """The loss net with its optimizer: selects examples, and learns from their losses."""

    def __init__(self, model: nn.Module, config: Config, accelerator: Accelerator) -> None:
        self.model, self.config, self.accelerator = model, config, accelerator
        with torch.random.fork_rng(devices=[]):  # the run's random numbers stay as they are
            torch.manual_seed(derive_seed(config.seed, "loss_net"))
            self.net = LossNet(*encoder_shape(model)).to(accelerator.device)
        self.features: Tensor | None = None  # of the examples selected last, until learned
        self.reset_optimizer()

    def reset_optimizer(self) -> None:
        """A fresh Adafactor, at the learning rate of the model."""
        parameters = [*self.net.parameters()]
        groups = [
            {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": LOSS_NET_DECAY},
            {"params": [p for p in parameters if p.ndim < 2]},
        ]
        self.optimizer = Adafactor(groups, lr=self.config.learning_rate)

    @property
    def has_selected(self) -> bool:
        """Is there a selection whose losses are not learned yet?"""
        return self.features is not None

    @torch.no_grad()
    def select(
        self, examples: Sequence[TokenizedExample], count: int, tokenizer: ExampleTokenizer
    ) -> list[int]:
        """The `count` examples with the largest predicted losses, in ascending order."""
        device, world = self.accelerator.device, self.accelerator.num_processes
        mine = range(self.accelerator.process_index, len(examples), world)
        features = torch.zeros(len(examples), *encoder_shape(self.model), device=device)
        if mine:
            with self.accelerator.autocast():
                local = pool_encoder_states(self.model, [examples[i] for i in mine], tokenizer)
            features[mine.start :: world] = local
        if world > 1:
            features = self.accelerator.reduce(features, "sum")
        ranked = self.net(features).sort(descending=True, stable=True).indices
        indices = ranked[:count].sort().values
        self.features = features[indices]
        return indices.tolist()

    def learn(self, losses: Tensor) -> None:
        """One step of the loss net on the losses [m] of the examples selected last, in order.

        The steps that repeat a batch do not train the loss net again.
        """
        assert self.features is not None
        if len(losses) > 1:
            loss = ranking_loss(self.net(self.features), losses.to(self.features.device))
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            self.optimizer.zero_grad()
        self.features = None

    def state(self) -> dict[str, Tensor]:
        """The weights, and the state of their optimizer."""
        state = {f"net.{name}": tensor for name, tensor in self.net.state_dict().items()}
        for number, values in self.optimizer.state_dict()["state"].items():
            for name, value in values.items():
                state[f"optimizer.{number}.{name}"] = torch.as_tensor(value)
        return state

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over weights and optimizer state. Raises DataError if they do not fit."""
        weights = {n.removeprefix("net."): t for n, t in state.items() if n.startswith("net.")}
        moments: dict[int, dict[str, Any]] = {}
        for key, tensor in state.items():
            kind, _, rest = key.partition(".")
            if kind == "optimizer":
                number, _, name = rest.partition(".")
                value = tensor.item() if name == "step" else tensor
                moments.setdefault(int(number), {})[name] = value
        try:
            self.net.load_state_dict(weights)
            self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": moments})
        except (RuntimeError, ValueError) as error:
            raise DataError(f"The stored loss net does not fit the model: {error}") from None
