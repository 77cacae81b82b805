"""RecAdam: Adam with an annealed pull towards the pretrained weights (Chen et al., 2020).

The objective anneals from recalling to learning, lambda(t) = w / (1 + exp(-k (t - t0))):

    lambda(t) L(theta) + (w - lambda(t)) gamma / 2 ||theta - theta*||^2

Each step takes Adam's step times lambda (eq. 7) and then moves the weights towards theta*. The
paper's pull is the explicit step p -= c (p - p*) with c = lr gamma (w - lambda), which diverges for
c > 2. This implementation takes the implicit step p = (p + c p*) / (1 + c), which is equal to first
order and stable for every c.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import nn
from transformers import PreTrainedModel

from fki.core.errors import ConfigError, DataError
from fki.methods import base
from fki.modeling.sharding import shard_like

Rate = Annotated[float, Field(ge=0, lt=1)]


class RecAdamOptions(base.Options):
    """The table `[recadam]`."""

    gamma: float = Field(5000.0, ge=0)
    """The weight of the pull towards the anchor."""
    anneal: Literal["sigmoid", "linear", "constant"] = "sigmoid"
    """Shape of the rise of lambda from recalling to learning."""
    w: float = Field(1.0, gt=0, le=1)
    """Final value of lambda."""
    t0_fraction: float = Field(0.2, gt=0)
    """Fraction of a period's steps at which lambda is half way (sigmoid) or complete (linear)."""
    k_t0: float = Field(10.0, gt=0)
    """Steepness k of the sigmoid times t0; 10 starts lambda near 0 for any number of steps."""
    anchor: Literal["pretrained", "previous_period"] = "pretrained"
    """Weights to recall: the base model's, or those before the current period."""
    betas: tuple[Rate, Rate] = (0.9, 0.999)
    """Adam's decay rates of the first and second moment."""
    eps: float = Field(1e-8, gt=0)
    """Adam's term against division by zero."""


class RecAdam(base.Method):
    """Fine-tuning with the RecAdam optimizer; every trainable parameter has an anchor."""

    table: ClassVar[str] = "recadam"
    Options: ClassVar[type[base.Options]] = RecAdamOptions
    options: RecAdamOptions

    def prepare(self, model: PreTrainedModel) -> nn.Module:
        """As vanilla; stores the initial trainable weights as anchors.

        Raises ConfigError if the optimizer is not reset for each period.
        """
        if not self.config.reset_optimizer_per_period:
            raise ConfigError(
                "recadam anneals from recalling to learning within each period and needs "
                "reset_optimizer_per_period = true, not false."
            )
        prepared = super().prepare(model)
        self.anchors = {
            n: p.detach().clone() for n, p in base.trainable_parameters(prepared).items()
        }
        return prepared

    def optimizer(self, model: nn.Module, steps: int) -> torch.optim.Optimizer:
        """RecAdam over the trainable parameters, paired with their anchors by name."""
        parameters = base.trainable_parameters(model)
        is_previous = self.options.anchor == "previous_period"
        if is_previous:
            self.anchors = {n: p.detach().clone() for n, p in parameters.items()}
        t0, k = self.schedule(steps)
        decays: dict[float, list[str]] = defaultdict(list)
        for name, p in parameters.items():
            decays[self.config.weight_decay if p.ndim >= 2 else 0.0].append(name)
        return RecAdamOptimizer(
            [
                {
                    "params": [parameters[name] for name in names],
                    "anchors": [shard_like(self.anchors[n], parameters[n]) for n in names],
                    "decay": decay,
                }
                for decay, names in decays.items()
            ],
            lr=self.config.learning_rate,
            betas=self.options.betas,
            eps=self.options.eps,
            gamma=self.options.gamma,
            anneal=self.options.anneal,
            w=self.options.w,
            t0=t0,
            k=k,
            saves_anchors=is_previous,
        )

    def optimizer_bytes(self, model: nn.Module) -> base.OptimizerBytes:
        """Adam's state and the anchors; a checkpoint stores only anchors that a period replaces."""
        parameters = [*base.trainable_parameters(model).values()]
        moments = base.adamw_bytes(parameters)
        anchors = sum(p.nbytes for p in parameters)
        is_previous = self.options.anchor == "previous_period"
        return base.OptimizerBytes(moments + anchors, moments + anchors * is_previous)

    def schedule(self, steps: int) -> tuple[float, float]:
        """t0 (in steps) and k (per step) for a period of `steps` optimizer steps."""
        t0 = max(1.0, self.options.t0_fraction * steps)
        return t0, self.options.k_t0 / t0

    def notes(self, steps: int) -> dict[str, float]:
        """The resolved t0 and k."""
        t0, k = self.schedule(steps)
        return {"recadam.t0": t0, "recadam.k": k}


class RecAdamOptimizer(torch.optim.Adam):
    """Adam's fused step at lr times lambda, then the implicit pull, then decoupled decay.

    The gradient itself is not scaled. Each parameter group has `anchors`, one for each of `params`,
    and optionally `decay`.
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        *,
        lr: float,
        betas: tuple[float, float],
        eps: float,
        gamma: float,
        anneal: str,
        w: float,
        t0: float,
        k: float,
        saves_anchors: bool = False,
    ) -> None:
        """`saves_anchors`: the anchors are part of the state that a checkpoint stores."""
        super().__init__(params, lr=lr, betas=betas, eps=eps, fused=True)
        self.gamma, self.anneal, self.w, self.t0, self.k = gamma, anneal, w, t0, k
        self.saves_anchors = saves_anchors

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient.

        Groups without parameters take no step: DeepSpeed steps one group after another.
        """
        groups = [group for group in self.param_groups if group["params"]]
        rates, strengths = [group["lr"] for group in groups], []
        for group, lr in zip(groups, rates, strict=True):
            if "steps_taken" not in group:
                group["steps_taken"] = self._count_steps(group)
            group["steps_taken"] += 1
            taken = group["steps_taken"]
            strengths.append(anneal_factor(taken, self.anneal, self.w, self.t0, self.k))
            group["lr"] = lr * strengths[-1]
        super().step()
        for group, lr, strength in zip(groups, rates, strengths, strict=True):
            group["lr"] = lr
            self._pull_to_anchors(group, lr * self.gamma * (self.w - strength))

    def _count_steps(self, group: dict[str, Any]) -> int:
        """The steps of a group that its state, such as that of a checkpoint, has."""
        states = [self.state.get(p, {}) for p in group["params"]]
        return max((int(state["step"]) for state in states if "step" in state), default=0)

    def _pull_to_anchors(self, group: dict[str, Any], pull: float) -> None:
        """Move parameters with a gradient towards their anchors; then decay them."""
        for p, anchor in zip(group["params"], group["anchors"], strict=True):
            if p.grad is None:
                continue
            if self.saves_anchors:
                anchor = self.state[p].setdefault("anchor", anchor)
            p.lerp_(anchor, pull / (1 + pull))
            if decay := group.get("decay"):
                p.mul_(1 - group["lr"] * decay)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As Adam's; the number of steps taken is then that of the state.

        Raises DataError if the state belongs to parameters in another order.
        """
        parameters = [p for group in self.param_groups for p in group["params"]]
        for place, state in state_dict["state"].items():
            if place >= len(parameters) or state["exp_avg"].shape != parameters[place].shape:
                raise DataError(
                    f"The optimizer state {place} does not fit its parameter: another version of "
                    "fki wrote it, with a weight decay, in the middle of a period.",
                    hint="Resume with that version, or start a new run: fki train "
                    "--continue-from RUN",
                )
        super().load_state_dict(state_dict)
        for group in self.param_groups:
            group.pop("steps_taken", None)


def anneal_factor(t: int, anneal: str, w: float, t0: float, k: float) -> float:
    """lambda at step t: the weight of learning, from near 0 to w."""
    if anneal == "sigmoid":
        return w / (1 + math.exp(min(-k * (t - t0), 700.0)))
    return w * min(1.0, t / t0) if anneal == "linear" else w
