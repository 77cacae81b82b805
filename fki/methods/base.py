"""The method contract: how a method changes the model, the optimizer, the data and the export.

A method is a subclass of `Method` in a file of its own. Four hooks are called in this order:

    prepare       once: add modules and decide which parameters train
    begin_period  once for each period, before its first step
    optimizer     once for each period
    mix           once for each epoch: the examples to train on
    extra_loss    for each forward pass of training: a term beside the cross-entropy
    fold          for an export: the plain model with the same outputs

The base class is vanilla fine-tuning; a method overrides only its difference from that. A method
has no access to the accelerator, the disk or the console. Checkpoints store every trainable
parameter, and loading is `prepare` followed by these weights. A method with a further state, such
as the weights of a teacher, returns it from `state` and receives it in `load_state`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from fki.config.schema import Config
from fki.config.schema import Options as Options
from fki.core import registry
from fki.core.errors import ConfigError
from fki.core.types import Example, Period
from fki.data.collator import ExampleTokenizer
from fki.methods.adafactor import Adafactor, adafactor_bytes
from fki.modeling.architecture import architecture_of
from fki.modeling.encoder_cache import FrozenEncoder


class OptimizerBytes(NamedTuple):
    """The size of an optimizer's state, in bytes."""

    memory: int  # beside weights and gradients
    saved: int  # the part that a checkpoint stores


class Method:
    """Vanilla fine-tuning on the period's examples; the base class of all methods.

    A complete method, an adapter after the encoder (Houlsby et al., 2019):

        class BottleneckOptions(Options):
            width: int = Field(2, ge=1)
            '''Width of the adapter.'''

        class Bottleneck(Method):
            Options = BottleneckOptions

            def prepare(self, model):
                unfrozen = unfrozen_parameters(model, self.config.freeze_level)
                encoder, size = model.get_encoder(), model.config.d_model
                encoder.down = nn.Linear(size, self.options.width)
                encoder.up = nn.Linear(self.options.width, size)
                nn.init.zeros_(encoder.up.weight)  # starts with the base model's outputs
                nn.init.zeros_(encoder.up.bias)
                encoder.register_forward_hook(self.add_adapter)
                adapter = [*encoder.down.parameters(), *encoder.up.parameters()]
                train_only(model, [*unfrozen, *adapter])
                return model

            def add_adapter(self, encoder, inputs, output):
                added = encoder.up(encoder.down(output.last_hidden_state))
                output.last_hidden_state = output.last_hidden_state + added
                return output

            def fold(self, model):
                raise CannotFold("A plain model has no module for the adapter.")

    An installed package registers it under the entry point group `fki.methods`; its options are
    then the table `[bottleneck]` of a preset. `fki.testing.check_method("bottleneck")` checks the
    contract.

    Attributes:
        table: name of the preset's table with the options, for methods that share one.
        replay: the replay policy of `replay = "auto"`.
        supports_packing: may a row hold several examples, under an attention mask [B, 1, T, T]?
        trains: does the method train the model? If not, it has no trainable parameters, and `mix`
            receives the periods but returns no examples.
        config: the run's settings.
        options: the method's own settings.
    """

    table: ClassVar[str] = "vanilla"
    replay: ClassVar[str] = "none"
    supports_packing: ClassVar[bool] = True
    trains: ClassVar[bool] = True
    Options: ClassVar[type[Options]] = Options

    def __init__(self, config: Config, options: Any = None) -> None:
        self.config = config
        self.options = self.Options() if options is None else options

    @property
    def corpus(self) -> str:
        """The file of examples for `review` in `mix`.

        "": that of the replay policy, or else the stream's base knowledge.
        """
        return ""

    def prepare(self, model: PreTrainedModel) -> nn.Module:
        """Add modules to the base model and set `requires_grad`; input and output shapes stay.

        Added parameters always train; `freeze_level` decides about the base model's parameters.
        The prepared model must have the base model's outputs.

        Raises:
            ConfigError: no parameter is left to train.
        """
        train_only(model, unfrozen_parameters(model, self.config.freeze_level))
        if not any(p.requires_grad for p in model.parameters()):
            raise ConfigError(
                "freeze_level = 2 leaves no parameter to train: method = "
                f"'{self.config.method}' adds none.",
                hint="Use freeze_level = 0 or 1, or a method that adds parameters, such as lora.",
            )
        return model

    def begin_period(self, model: nn.Module, period: Period) -> None:
        """Called before the first step of a period, and not if a run resumes in its middle.

        Args:
            model: the prepared model, whose trainable parameters may be changed.
        """

    def state(self) -> Mapping[str, Tensor]:
        """The method's own state within a period, which checkpoints store; by default none.

        The state of a method that does not train is stored between periods too.
        """
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over a stored state. Called only with what `state` returned, and only if a run
        resumes in the middle of a period, or, of a method that does not train, if it is opened.

        Raises:
            DataError: the state does not fit the method.
        """

    def optimizer(self, model: nn.Module, steps: int) -> torch.optim.Optimizer:
        """Make the optimizer of the trainable parameters for a period of `steps` optimizer steps.

        The default is Adafactor as in CKL and CFInjectBench: an absolute learning rate, no
        parameter scaling. Parameters of one dimension (norms) do not decay.
        """
        groups = parameter_groups(model, self.config.weight_decay)
        if self.config.optimizer == "adamw":
            return torch.optim.AdamW(groups, lr=self.config.learning_rate, fused=True)
        return Adafactor(groups, lr=self.config.learning_rate)

    def optimizer_bytes(self, model: nn.Module) -> OptimizerBytes:
        """The size of the state of `optimizer(model, ...)` after its first step.

        A method with an optimizer of its own overrides this.
        """
        parameters = trainable_parameters(model).values()
        state_bytes = adamw_bytes if self.config.optimizer == "adamw" else adafactor_bytes
        size = state_bytes(parameters)
        return OptimizerBytes(size, size)

    def copied_bytes(self, model: nn.Module) -> int:
        """Bytes of the copies of weights that the method keeps in memory; for estimates."""
        return 0

    def mix(
        self, period: Period, review: Sequence[Example], epoch: int, seed: int
    ) -> Sequence[Example]:
        """Return the new examples of one epoch, in any order.

        Each of the period's examples must be among them, by its id; a method may change its texts
        or its `infilling`.

        The replay policy (`fki.replay`) adds older examples. The result may depend only on the
        arguments and on earlier periods. Periods come in the stream's order. Epochs come in order
        up to the end of the budget, or a resumed run calls only the last one.

        Args:
            review: older examples: the rows of `corpus`, or else the base knowledge.
            epoch: from 0.
        """
        return period.examples

    def tokenize_questions(
        self, questions: Sequence[str], tokenizer: ExampleTokenizer
    ) -> list[list[int]]:
        """Token ids of each question as the model reads it, EOS included."""
        return tokenizer.tokenize_sources(questions)

    def check_inputs(
        self, examples: Iterable[Sequence[Example]], tokenizer: ExampleTokenizer
    ) -> list[str]:
        """Notes for the user on examples that the method cannot use whole.

        Args:
            examples: the base knowledge, then those of each period.
        """
        return []

    def extra_loss(
        self, logits: Tensor, labels: Tensor, run_again: Callable[[], Tensor]
    ) -> Tensor | None:
        """A term that is added to the cross-entropy of one forward pass of training; None: none.

        As the cross-entropy, it is a sum over the scored tokens: the trainer divides both by the
        scored tokens of the optimizer batch.

        Args:
            logits: [N, V] in fp32, at the scored positions.
            labels: [N], the target tokens.
            run_again: runs the model, as it then is, on the same examples; returns logits [N, V] in
                fp32. `extra_forward_passes` must count these calls.
        """
        return None

    @property
    def extra_forward_passes(self) -> int:
        """The number of passes without gradients that `extra_loss` runs for each forward pass."""
        return 0

    def fold(self, model: nn.Module) -> PreTrainedModel:
        """Return the plain model with the same outputs.

        Raises:
            CannotFold: a plain model of the same class cannot represent the method.
        """
        assert isinstance(model, PreTrainedModel)
        return model

    def bundle(self, model: nn.Module) -> PreTrainedModel:
        """Return a model that transformers can load: the plain model, or one with its own code.

        Raises:
            CannotFold: there is neither.
        """
        return self.fold(model)

    def frozen_encoder(self, model: nn.Module) -> FrozenEncoder | None:
        """The part of the encoder that does not change in a run, for the encoder cache; or None."""
        return architecture_of(model).frozen_encoder(model)

    def notes(self, steps: int) -> dict[str, float]:
        """Resolved values that `fki plan` shows, for a period of `steps` optimizer steps."""
        return {}


def unfrozen_parameters(model: PreTrainedModel, freeze_level: int) -> list[nn.Parameter]:
    """The base model's parameters that train at a freeze level.

    0: all. 1: of an encoder-decoder all except the encoder and the input embeddings; of a decoder
    all except the embeddings and the lower half of the blocks. A head that is tied to the
    embeddings is then frozen too; an untied one trains. 2: none.
    """
    if freeze_level == 2:
        return []
    frozen: set[int] = set()
    if freeze_level == 1:
        frozen.update(map(id, architecture_of(model).lower_parameters(model)))
    return [p for p in model.parameters() if id(p) not in frozen]


def require_encoder(model: Any, config: Config, why: str) -> None:
    """Raises ConfigError if the model is a decoder; `why` completes the sentence about it."""
    if not architecture_of(model).has_encoder:
        raise ConfigError(
            f"method = '{config.method}' {why}; '{config.model}' is a decoder.",
            hint="Methods for decoders: vanilla, lora, recadam, mixreview, kadapter_2, kd, "
            "joint, retrieval, peft:NAME",
        )


def train_only(model: nn.Module, parameters: Iterable[nn.Parameter]) -> None:
    """Set `requires_grad` for exactly these parameters of the model."""
    model.requires_grad_(False)
    for parameter in parameters:
        parameter.requires_grad_(True)


def trainable_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Trainable parameters by name; tied parameters appear once."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """The optimizer's groups of trainable parameters: matrices decay, vectors do not."""
    parameters = list(trainable_parameters(model).values())
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return [g for g in groups if g["params"]]


def adamw_bytes(parameters: Iterable[nn.Parameter]) -> int:
    """Bytes of Adam's state: two moments of each parameter, and its step number in float32."""
    return sum(2 * p.nbytes + 4 for p in parameters)


def make_method(config: Config) -> Method:
    """Make the configured method with its options."""
    cls = registry.method_class(config.method)
    return cls(config, cls.Options(**config.options_for(registry.table_of(config.method))))
