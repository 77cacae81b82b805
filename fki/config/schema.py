"""The settings: what each one is called, what it may be, and its default."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, cast

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


Effect = Literal["results", "scoring", "nothing"]
"""The effect of a setting: weights or scores; also how probes are asked and answered; neither.

`results`: runs that differ are different arms. `scoring`: runs that differ are not compared.
`nothing`: storage and speed, which never change a result.
"""


def setting(default: Any, *, affects: Effect, is_location: bool = False) -> Any:
    """A field of `Config` that states its effect.

    Args:
        is_location: a path that is written to; the runs of a sweep and a resumed run may differ.
    """
    return Field(default, json_schema_extra={"affects": affects, "is_location": is_location})


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

    model: NonEmptyText = setting("t5-mini", affects="results")
    """The model to teach: the embedded t5-mini, a folder, or a name on the Hugging Face Hub."""
    method: NonEmptyText = setting("vanilla", affects="results")
    """How to teach it: a method of fki's or of an installed plug-in."""
    dataset: NonEmptyText = setting("wiki", affects="results")
    """What to teach: a known dataset or a folder with one."""
    dataset_version: Version = setting("quarter", affects="results")
    """How long a period is."""
    since: str = setting("", affects="results")
    """Only periods from this date on, such as 2024, 2024-05 or 2024-Q2; empty: all."""
    max_periods: NonNegativeInt = setting(0, affects="results")
    """Only the first so many periods; 0: all."""

    prompt_format: PromptFormat = setting("sentinel", affects="scoring")
    """How a fact is asked: with a sentinel for its object, or with the wording up to its object."""
    document_objective: DocumentObjective = setting("span_corruption", affects="results")
    """How documents are learned: random spans are hidden, or names, dates and numbers."""
    input_length: Annotated[int, Field(ge=2)] = setting(64, affects="scoring")
    """At most this many input tokens; a longer question is cut off, a document cut into pieces."""
    output_length: PositiveInt = setting(32, affects="scoring")
    """At most this many target tokens; a longer answer is an error, never cut off."""

    num_train_epochs: PositiveInt = setting(12, affects="results")
    """How often each period's facts are learned."""
    train_batch_size: PositiveInt = setting(32, affects="results")
    """Examples per optimizer step and device, before accumulation."""
    gradient_accumulation_steps: PositiveInt = setting(1, affects="results")
    """An optimizer step has this many times train_batch_size examples per device."""
    micro_batch_tokens: NonNegativeInt = setting(1024, affects="results")
    """Padded input tokens of one forward pass; it is exact for any value. 0: train_batch_size."""
    pack_length: NonNegativeInt = setting(128, affects="results")
    """Examples share a row of up to so many input tokens, and do not see one another; it is exact,
    and saves padding. 0: each has a row of its own; so it is for models other than T5 and mT5."""
    encoder_cache: Literal["auto", "off", "fp32", "bf16"] = setting("auto", affects="results")
    """What a frozen encoder says is kept on disk and read again each epoch, so without dropout.
    auto: fp32 for several epochs; bf16 takes half the space, and scoring does without it."""
    encoder_cache_mib: PositiveInt = setting(4096, affects="results")
    """The disk that it takes at most."""
    learning_rate: PositiveFloat = setting(1e-3, affects="results")
    """The peak learning rate, absolute also for Adafactor."""
    use_lr_scheduling: bool = setting(False, affects="results")
    """Per period: warm up over the first tenth of the steps, then fall linearly; else constant."""
    optimizer: Literal["adafactor", "adamw"] = setting("adafactor", affects="results")
    """The optimizer, unless the method brings its own."""
    weight_decay: NonNegativeFloat = setting(0.0, affects="results")
    """Decoupled weight decay of matrices; vectors have none."""
    max_grad_norm: NonNegativeFloat = setting(0.5, affects="results")
    """The global norm that gradients are scaled down to when above it; 0: no limit."""
    on_nan: Literal["stop", "skip"] = setting("stop", affects="results")
    """What to do where the loss is no finite number: stop, or leave out up to 10 steps in a row."""
    reset_optimizer_per_period: bool = setting(True, affects="results")
    """Start each period with a fresh optimizer state."""
    freeze_level: Literal[0, 1, 2] = setting(0, affects="results")
    """0: all weights train; 1: not encoder and embeddings; 2: only what the method adds."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = setting(0, affects="results")
    """What all randomness follows from."""

    ngpu: PositiveInt = setting(1, affects="results")
    """Devices that the run is meant for, one process each."""
    num_workers: NonNegativeInt = setting(0, affects="nothing")
    """Processes that prepare batches; 0: the training process itself."""
    mixed_precision: Literal["no", "bf16", "auto"] = setting("no", affects="results")
    """The forward pass in bf16, weights and optimizer in fp32; auto: where the device is made for
    it. Scoring is in fp32 in any case."""
    use_deepspeed: bool = setting(False, affects="results")
    """DeepSpeed; not possible yet, so only false is accepted."""

    eval_batch_size: PositiveInt = setting(256, affects="results")
    """Probes per device that are answered at once."""
    eval_batch_tokens: NonNegativeInt = setting(4096, affects="results")
    """Padded input tokens that are answered at once; 0: eval_batch_size."""
    eval_every: NonNegativeInt = setting(0, affects="scoring")
    """Score after every so many periods; 0: such that there are at most 12 evaluations."""
    eval_lookback: NonNegativeInt = setting(0, affects="results")
    """How many past scored phases each evaluation looks back over; 0: all."""
    max_probes_per_set: NonNegativeInt = setting(500, affects="scoring")
    """At most this many probes of a keep-set, and of cloze per phase, by a fixed seed; 0: all."""
    num_beams: PositiveInt = setting(1, affects="scoring")
    """Beams when an answer is generated; 1: greedy."""
    check_validation: bool = setting(False, affects="results")
    """Only evaluate, train nothing."""
    continue_from: str = setting("", affects="results")
    """A run, or one of its checkpoints, whose weights a new run starts from; empty: the model's."""
    checkpoint_path: str = setting("", affects="results")
    """The weights that check_validation evaluates; empty: the model as it is."""

    output_dir: str = setting("", affects="nothing", is_location=True)
    """The run's folder; empty: a new one under runs/."""
    output_log: str = setting("", affects="nothing", is_location=True)
    """Where a further copy of the scores goes: a folder, a .csv or a .jsonl file."""
    keep_last: PositiveInt = setting(2, affects="nothing")
    """How many checkpoints are kept, the newest ones."""
    keep_best: NonNegativeInt = setting(0, affects="nothing")
    """How many more are kept, those of the best rows: most kept and most learned."""
    save_every_steps: NonNegativeInt = setting(0, affects="nothing")
    """Save a checkpoint after every so many optimizer steps, too; 0: after each scored phase."""

    budget: Budget = setting(Budget(), affects="results")
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


def effect_of(name: str) -> Effect:
    """The effect of a setting; the options of methods always affect results."""
    return _metadata(name)["affects"]


def settings_affecting(effect: Effect) -> tuple[str, ...]:
    """The names of the settings with this effect, in their order."""
    return tuple(name for name in SETTINGS if effect_of(name) == effect)


def location_settings() -> tuple[str, ...]:
    """The names of the settings that are paths to write to."""
    return tuple(name for name in SETTINGS if _metadata(name)["is_location"])


def _metadata(name: str) -> dict[str, Any]:
    return cast(dict[str, Any], Config.model_fields[name].json_schema_extra)


SETTINGS = tuple(name for name in Config.model_fields if name != "options")
TABLES: dict[str, type[BaseModel]] = {"budget": Budget}  # settings that are tables


def to_dict(config: Config) -> dict[str, Any]:
    """All settings, then the tables of options, as TOML has them."""
    flat = config.model_dump()
    options: dict[str, Any] = flat.pop("options")
    return flat | options


def flatten(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested settings by dotted key; a tuple becomes a list, as in JSON."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{above}{key}.")
        else:
            flat[above + key] = list(value) if isinstance(value, tuple) else value
    return flat


def to_toml(config: Config) -> str:
    """A preset that states every key; resolving it alone gives an equal config."""
    return "# Every setting of one run.\n" + tomli_w.dumps(to_dict(config))


def find_conflicts(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(key, what must hold) for settings that are fine alone but not together."""
    if settings.get("checkpoint_path") and settings.get("check_validation", False) is False:
        text = "is only read when check_validation = true. To train from model: --set"
        yield "checkpoint_path", f"{text} checkpoint_path="
