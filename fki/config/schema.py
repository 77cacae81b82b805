"""The settings: what each one is called, what it may be, and its default."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from fki.core.calendar import parse_date
from fki.core.types import DocumentObjective, PromptFormat, Version

PositiveInt = Annotated[int, Field(ge=1)]
NonNegativeInt = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
NonEmptyText = Annotated[str, Field(min_length=1)]


class Budget(BaseModel):
    """The table `[budget]`: what one period's training may use, the same for every method.

    An optimizer step is begun while less than each limit is used, so the last one may pass it, and
    the limit that is reached first ends the period. 0: no limit. Epochs are never added.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )

    steps: Annotated[int, Field(ge=0, strict=True)] = 0
    """Optimizer steps."""
    tokens: Annotated[int, Field(ge=0, strict=True)] = 0
    """Input and target tokens, without padding."""
    seconds: Annotated[float, Field(ge=0, strict=True)] = 0.0
    """Seconds of the optimizer loop, as `spent` counts them; which step is the last is not known
    before, so schedules are those of a period without this limit."""
    flops: Annotated[float, Field(ge=0, strict=True)] = 0.0
    """Floating-point operations, as `modeling/flops.py` estimates them."""


class Config(BaseModel):
    """Every setting of a run. Frozen; made by `resolve.resolve`, which also fills `options`."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )

    model: NonEmptyText = "t5-mini"
    """The model to teach: the embedded t5-mini, a folder, or a name on the Hugging Face Hub."""
    method: NonEmptyText = "vanilla"
    """How to teach it: a method of fki's or of an installed plug-in."""
    dataset: NonEmptyText = "wiki"
    """What to teach: a known dataset or a folder with one."""
    dataset_version: Version = "quarter"
    """How long a period is."""
    since: str = ""
    """Only periods from this date on, such as 2024, 2024-05 or 2024-Q2; empty: all."""
    max_periods: NonNegativeInt = 0
    """Only the first so many periods; 0: all."""

    prompt_format: PromptFormat = "sentinel"
    """How a fact is asked: with a sentinel for its object, or with the wording up to its object."""
    document_objective: DocumentObjective = "span_corruption"
    """How documents are learned: random spans are hidden, or names, dates and numbers."""
    input_length: Annotated[int, Field(ge=2)] = 64
    """At most this many input tokens; a longer question is cut off, a document cut into pieces."""
    output_length: PositiveInt = 32
    """At most this many target tokens; a longer answer is an error, never cut off."""

    num_train_epochs: PositiveInt = 12
    """How often each period's facts are learned."""
    train_batch_size: PositiveInt = 32
    """Examples per optimizer step and device, before accumulation."""
    gradient_accumulation_steps: PositiveInt = 1
    """An optimizer step has this many times train_batch_size examples per device."""
    micro_batch_tokens: NonNegativeInt = 1024
    """Padded input tokens of one forward pass; it is exact for any value. 0: train_batch_size."""
    pack_length: NonNegativeInt = 128
    """Examples share a row of up to so many input tokens, and do not see one another; it is exact,
    and saves padding. 0: each has a row of its own; so it is for models other than T5 and mT5."""
    encoder_cache: Literal["auto", "off", "fp32", "bf16"] = "auto"
    """What a frozen encoder says is kept on disk and read again each epoch, so without dropout.
    auto: fp32 for several epochs; bf16 takes half the space, and scoring does without it."""
    encoder_cache_mib: PositiveInt = 4096
    """The disk that it takes at most."""
    learning_rate: PositiveFloat = 1e-3
    """The peak learning rate, absolute also for Adafactor."""
    use_lr_scheduling: bool = False
    """Per period: warm up over the first tenth of the steps, then fall linearly; else constant."""
    optimizer: Literal["adafactor", "adamw"] = "adafactor"
    """The optimizer, unless the method brings its own."""
    weight_decay: NonNegativeFloat = 0.0
    """Decoupled weight decay of matrices; vectors have none."""
    max_grad_norm: NonNegativeFloat = 0.5
    """The global norm that gradients are scaled down to when above it; 0: no limit."""
    on_nan: Literal["stop", "skip"] = "stop"
    """What to do where the loss is no finite number: stop, or leave out up to 10 steps in a row."""
    reset_optimizer_per_period: bool = True
    """Start each period with a fresh optimizer state."""
    freeze_level: Literal[0, 1, 2] = 0
    """0: all weights train; 1: not encoder and embeddings; 2: only what the method adds."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """What all randomness follows from."""

    ngpu: PositiveInt = 1
    """Devices that the run is meant for, one process each."""
    num_workers: NonNegativeInt = 0
    """Processes that prepare batches; 0: the training process itself."""
    mixed_precision: Literal["no", "bf16", "auto"] = "no"
    """The forward pass in bf16, weights and optimizer in fp32; auto: where the device is made for
    it. Scoring is in fp32 in any case."""
    use_deepspeed: bool = False
    """DeepSpeed; not possible yet, so only false is accepted."""

    eval_batch_size: PositiveInt = 256
    """Probes per device that are answered at once."""
    eval_batch_tokens: NonNegativeInt = 4096
    """Padded input tokens that are answered at once; 0: eval_batch_size."""
    eval_every: NonNegativeInt = 0
    """Score after every so many periods; 0: such that there are at most 12 evaluations."""
    eval_lookback: NonNegativeInt = 0
    """How many past scored phases each evaluation looks back over; 0: all."""
    max_probes_per_set: NonNegativeInt = 500
    """At most this many probes of a keep-set, and of cloze per phase, by a fixed seed; 0: all."""
    num_beams: PositiveInt = 1
    """Beams when an answer is generated; 1: greedy."""
    check_validation: bool = False
    """Only evaluate, train nothing."""
    continue_from: str = ""
    """A run, or one of its checkpoints, whose weights a new run starts from; empty: the model's."""
    checkpoint_path: str = ""
    """The weights that check_validation evaluates; empty: the model as it is."""

    output_dir: str = ""
    """The run's folder; empty: a new one under runs/."""
    output_log: str = ""
    """Where a further copy of the scores goes: a folder, a .csv or a .jsonl file."""
    keep_last: PositiveInt = 2
    """How many checkpoints are kept, the newest ones."""
    keep_best: NonNegativeInt = 0
    """How many more are kept, those of the best rows: most kept and most learned."""
    save_every_steps: NonNegativeInt = 0
    """Save a checkpoint after every so many optimizer steps, too; 0: after each scored phase."""

    budget: Budget = Budget()
    """What a period's training may use; in TOML the table [budget]."""
    options: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """The methods' own options by table; in TOML each is a table of its own, such as [recadam]."""

    def options_for(self, table: str) -> dict[str, Any]:
        """The checked options of a method's table, defaults included; empty if it has none."""
        return dict(self.options.get(table, {}))

    @field_validator("mixed_precision", mode="before")
    @classmethod
    def _no_fp16(cls, value: object) -> object:
        if value == "fp16":
            raise ValueError(
                "must be 'bf16' or 'no', not 'fp16': T5's feed-forward layers overflow in fp16."
            )
        return value

    @field_validator("since")
    @classmethod
    def _is_date(cls, value: str) -> str:
        if value:
            parse_date(value)
        return value

    @model_validator(mode="after")
    def _no_clash(self) -> "Config":
        for key, text in find_conflicts(self.__dict__):
            raise ValueError(f"{key} {text}")
        return self


SETTINGS = tuple(name for name in Config.model_fields if name != "options")
TABLES: dict[str, type[BaseModel]] = {"budget": Budget}  # settings that are tables


def to_dict(config: Config) -> dict[str, Any]:
    """All settings, then the tables of options, as TOML has them."""
    flat = config.model_dump()
    options: dict[str, Any] = flat.pop("options")
    return flat | options


def to_toml(config: Config) -> str:
    """A preset that states every key; resolving it alone gives an equal config."""
    return "# Every setting of one run.\n" + tomli_w.dumps(to_dict(config))


def find_conflicts(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(key, what must hold) for settings that are fine alone but not together."""
    if settings.get("checkpoint_path") and settings.get("check_validation", False) is False:
        text = "is only read when check_validation = true. To train from model: --set"
        yield "checkpoint_path", f"{text} checkpoint_path="
