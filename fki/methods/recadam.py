"""RecAdam: Adam that is pulled back to the pretrained weights, ever less (Chen et al., 2020).

The objective anneals from recalling to learning, lambda(t) = w / (1 + exp(-k (t - t0))):

    lambda(t) L(theta) + (w - lambda(t)) gamma / 2 ||theta - theta*||^2

Each step takes Adam's step times lambda (eq. 7) and then moves towards theta*. The paper's pull is
the explicit step p -= c (p - p*), c = lr gamma (w - lambda), which diverges for c > 2. Ours is
the implicit one, p = (p + c p*) / (1 + c): equal to first order, stable for every c.
"""

import math
from collections.abc import Callable, Iterable
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from transformers import PreTrainedModel

from fki.core.errors import ConfigError
from fki.methods import base

Rate = Annotated[float, Field(ge=0, lt=1)]


class RecAdamOptions(base.Options):
    """The table `[recadam]`."""

    gamma: float = Field(5000.0, ge=0)
    """The weight of the pull towards the anchor."""
    anneal: Literal["sigmoid", "linear", "constant"] = "sigmoid"
    """How lambda rises from recalling to learning."""
    w: float = Field(1.0, gt=0, le=1)
    """The value that lambda rises to."""
    t0_fraction: float = Field(0.2, gt=0)
    """Where lambda is half way (sigmoid) or at its top (linear), as a part of a period's steps."""
    k_t0: float = Field(10.0, gt=0)
    """Steepness k of the sigmoid times t0: 10 starts lambda near 0 whatever the steps."""
    anchor: Literal["pretrained", "previous_period"] = "pretrained"
    """The weights that are recalled: the base model's, or those before the current period."""
    betas: tuple[Rate, Rate] = (0.9, 0.999)
    """Adam's decay rates of the first and second moment."""
    eps: float = Field(1e-8, gt=0)
    """Adam's term against division by zero."""


class RecAdam(base.Method):
    """Fine-tuning with the RecAdam optimizer; every pretrained parameter has an anchor."""

    table: ClassVar[str] = "recadam"
    Options: ClassVar[type[base.Options]] = RecAdamOptions
    options: RecAdamOptions

    def prepare(self, model: PreTrainedModel) -> nn.Module:
        """The model, with its start weights kept as the anchors of what trains.

        Raises ConfigError where an optimizer is to outlive its period.
        """
        if not self.config.reset_optimizer_per_period:
            raise ConfigError(
                "recadam anneals from recalling to learning within each period, so it must have "
                "reset_optimizer_per_period = true, not false."
            )
        prepared = super().prepare(model)
        self.anchors = {n: p.detach().clone() for n, p in base.trainable(prepared).items()}
        return prepared

    def optimizer(self, model: nn.Module, steps: int) -> torch.optim.Optimizer:
        """RecAdam over the trainable parameters, paired with their anchors by name."""
        parameters = base.trainable(model)
        is_previous = self.options.anchor == "previous_period"
        if is_previous:
            self.anchors = {n: p.detach().clone() for n, p in parameters.items()}
        t0, k = self.schedule(steps)
        optimizer = RecAdamOptimizer(
            [
                {
                    "params": [p],
                    "anchors": [self.anchors[name].to(p.device)],
                    "weight_decay": self.config.weight_decay if p.ndim >= 2 else 0.0,
                }
                for name, p in parameters.items()
            ],
            lr=self.config.learning_rate,
            betas=self.options.betas,
            eps=self.options.eps,
            gamma=self.options.gamma,
            anneal=self.options.anneal,
            w=self.options.w,
            t0=t0,
            k=k,
        )
        for name, p in parameters.items() if is_previous else ():
            optimizer.state[p]["anchor"] = self.anchors[name]  # a checkpoint keeps the state
        return optimizer

    def schedule(self, steps: int) -> tuple[float, float]:
        """t0 in steps and k per step, resolved for a period of `steps` optimizer steps."""
        t0 = max(1.0, self.options.t0_fraction * steps)
        return t0, self.options.k_t0 / t0

    def notes(self, steps: int) -> dict[str, float]:
        """The resolved t0 and k."""
        t0, k = self.schedule(steps)
        return {"recadam.t0": t0, "recadam.k": k}


class RecAdamOptimizer(torch.optim.Optimizer):
    """Adam times lambda, then the implicit pull; each group carries `anchors` beside `params`."""

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
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "gamma": gamma,
            "weight_decay": 0.0,
            "anneal": anneal,
            "w": w,
            "t0": t0,
            "k": k,
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter, anchor in zip(group["params"], group["anchors"], strict=True):
                if parameter.grad is not None:
                    self._update(parameter, anchor, group)

    def _update(self, p: Tensor, anchor: Tensor, group: dict[str, Any]) -> None:
        """Adam's bias-corrected step times lambda (the gradient itself is not scaled), the pull,
        then decoupled decay."""
        state = self.state[p]
        if "step" not in state:
            state.update(step=0, exp_avg=torch.zeros_like(p), exp_avg_sq=torch.zeros_like(p))
        state["step"] += 1
        t, (beta1, beta2), lr = state["step"], group["betas"], group["lr"]
        m, v = state["exp_avg"], state["exp_avg_sq"]
        m.lerp_(p.grad, 1 - beta1)
        v.mul_(beta2).addcmul_(p.grad, p.grad, value=1 - beta2)
        strength = annealed(t, group["anneal"], group["w"], group["t0"], group["k"])
        denominator = (v / (1 - beta2**t)).sqrt_().add_(group["eps"])
        p.addcdiv_(m, denominator, value=-lr * strength / (1 - beta1**t))
        pull = lr * group["gamma"] * (group["w"] - strength)
        p.lerp_(state.get("anchor", anchor), pull / (1 + pull))
        if group["weight_decay"]:
            p.mul_(1 - lr * group["weight_decay"])


def annealed(t: int, anneal: str, w: float, t0: float, k: float) -> float:
    """lambda at step t: the share of learning, from near 0 to w."""
    if anneal == "sigmoid":
        return w / (1 + math.exp(min(-k * (t - t0), 700.0)))
    return w * min(1.0, t / t0) if anneal == "linear" else w
