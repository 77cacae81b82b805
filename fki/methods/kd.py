"""Knowledge distillation: the model before a period is the teacher (Hinton et al., 2015).

With logits s of the student and t of the teacher at a scored token, the loss is

    CE(s, label) + alpha T^2 KL(softmax(t / T) || softmax(s / T))

averaged over the scored tokens of the optimizer batch. The teacher has the weights from before the
period and runs on the same batches, without dropout and gradients, as in learning without
forgetting (Li and Hoiem, 2016). Its forward pass costs about a third of a training step, and a copy
of the trainable weights is in memory.

In CFInjectBench, the teacher was the student itself, so the divergence was that of two dropout
masks; it was divided by the number of texts instead of the number of tokens.
"""

from collections.abc import Callable, Mapping
from typing import ClassVar

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from fki.core.types import Period
from fki.methods import base
from fki.methods.snapshot import Snapshot


class DistillationOptions(base.Options):
    """The table `[kd]`."""

    alpha: float = Field(0.5, ge=0)
    """Weight of the divergence from the teacher. 0: vanilla, without a teacher."""
    temperature: float = Field(1.0, gt=0)
    """Temperature T of both distributions."""


class KnowledgeDistillation(base.Method):
    """Fine-tuning with the model before the period as the teacher."""

    table: ClassVar[str] = "kd"
    Options: ClassVar[type[base.Options]] = DistillationOptions
    options: DistillationOptions

    def prepare(self, model: PreTrainedModel) -> nn.Module:
        """As vanilla."""
        self.model = super().prepare(model)
        self.teacher: Snapshot | None = None
        return self.model

    def begin_period(self, model: nn.Module, period: Period) -> None:
        """Copy the weights: they are the teacher's until the period ends."""
        self.teacher = Snapshot.take(model) if self.options.alpha else None

    def state(self) -> Mapping[str, Tensor]:
        """The teacher's trainable weights."""
        return self.teacher.weights if self.teacher else {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over the teacher's weights, on the model's device."""
        device = next(self.model.parameters()).device
        self.teacher = Snapshot({name: tensor.to(device) for name, tensor in state.items()})

    @property
    def extra_forward_passes(self) -> int:
        """The teacher's."""
        return int(self.options.alpha > 0)

    def copied_bytes(self, model: nn.Module) -> int:
        """The teacher's trainable weights."""
        weights = base.trainable_parameters(model).values()
        return self.extra_forward_passes * sum(p.nbytes for p in weights)

    def optimizer_bytes(self, model: nn.Module) -> base.OptimizerBytes:
        """As vanilla; a checkpoint within a period also stores the teacher's weights."""
        size = super().optimizer_bytes(model)
        return size._replace(saved=size.saved + self.copied_bytes(model))

    def extra_loss(
        self, logits: Tensor, labels: Tensor, run_again: Callable[[], Tensor]
    ) -> Tensor | None:
        """The weighted divergence from the teacher, summed over the scored tokens."""
        if self.teacher is None:
            return None
        with self.teacher.applied(self.model):
            teacher = run_again()
        temperature = self.options.temperature
        divergence = sum_divergence(logits, teacher, temperature)
        return self.options.alpha * temperature**2 * divergence


def sum_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """KL(teacher || student) of the distributions at a temperature, summed over the tokens.

    Args:
        student: logits [N, V].
        teacher: logits [N, V].
    """
    log_student = functional.log_softmax(student.float() / temperature, -1)
    log_teacher = functional.log_softmax(teacher.float() / temperature, -1)
    return functional.kl_div(log_student, log_teacher, reduction="sum", log_target=True)
