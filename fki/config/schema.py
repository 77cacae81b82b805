"""The settings of a run: name, type, default, meaning and effect of each."""

from collections.abc import Callable, Iterator, Mapping
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
from fki.core.edit_version import check_version
from fki.core.registry import INITIAL
from fki.core.types import DocumentObjective, LoadIn, PromptFormat, ScoringWeights, Sharding

PositiveInt = Annotated[int, Field(ge=1)]
NonNegativeInt = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, le=1)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
NonEmptyText = Annotated[str, Field(min_length=1)]


Effect = Literal["results", "scoring", "nothing"]
"""The effect of a setting: weights or scores; also how probes are asked and answered; neither.

`results`: runs that differ are different arms. `scoring`: runs that differ are not compared.
`nothing`: storage and speed, which never change a result.
"""


def setting(
    default: Any, *, affects: Effect, is_location: bool = False, in_evaluation: bool = False
) -> Any:
    """A field of `Config` that states its effect.

    Args:
        is_location: a path that is written to; the runs of a sweep and a resumed run may differ.
        in_evaluation: an evaluation outside of training reads it, too; if it affects scoring, it
            always does.
    """
    extra: dict[str, Any] = {
        "affects": affects,
        "is_location": is_location,
        "in_evaluation": in_evaluation or affects == "scoring",
    }
    return Field(default, json_schema_extra=extra)


# with which each process has all weights
WHOLE_WEIGHTS: tuple[Sharding, ...] = ("none", "zero1", "zero2", "zero2_offload")


class Budget(BaseModel):
    """The table `[budget]`: limits of one period's training, the same for every method.

    A period ends at the first limit reached. The last optimizer step may exceed the limit. A
    budget never adds epochs. 0: no limit.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )

    steps: Annotated[int, Field(ge=0, strict=True)] = 0
    """Optimizer steps."""
    tokens: Annotated[int, Field(ge=0, strict=True)] = 0
    """Input and target tokens, without padding."""
    seconds: Annotated[float, Field(ge=0, strict=True)] = 0.0
    """Seconds of the optimizer loop. Learning rate schedules ignore this limit, because the last
    step is not known in advance."""
    flops: Annotated[float, Field(ge=0, strict=True)] = 0.0
    """Floating-point operations, estimated from the model's shapes."""


class Options(BaseModel):
    """The own settings of a method or of a replay policy; an unknown name is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Config(BaseModel):
    """All settings of a run, frozen. `resolve.resolve` builds it and fills `options`."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )

    model: NonEmptyText = setting("t5-mini", affects="results")
    """Model to train, an encoder-decoder or a decoder: the embedded t5-mini, a folder, or a name on
    the Hugging Face Hub."""
    method: NonEmptyText = setting("vanilla", affects="results")
    """Training method: a built-in method, `peft:NAME` for a method of the library peft, or the name
    of an installed plug-in. `initial` is read as vanilla with check_validation = true: the
    untouched model."""
    replay: Literal["auto", "none", "uniform", "prioritized"] = setting("auto", affects="results")
    """Older examples that train beside the new ones. uniform: a sample. prioritized: the examples
    with the largest losses. auto: uniform with mixreview, none with the other methods."""
    dataset: NonEmptyText = setting("wiki", affects="results", in_evaluation=True)
    """Dataset: a known name or a folder."""
    dataset_version: str = setting("quarter", affects="results", in_evaluation=True)
    """Length of a period: day, week (of ISO 8601), month, quarter, year, or all (a single period).
    `edits:N` makes N edits a period, in the order of the file; `edits:N:SEED` in a random one."""
    reset: Literal["none", "base"] = setting("none", affects="results")
    """Weights at the start of a period. none: those of the period before. base: those of the base
    model, so that each period is learned alone. Its probes are then evaluated right after it."""
    since: str = setting("", affects="results", in_evaluation=True)
    """Train only on periods that start on or after this date, such as 2024, 2024-05 or 2024-Q2.
    Empty: all periods."""
    max_periods: NonNegativeInt = setting(0, affects="results", in_evaluation=True)
    """Train only on this many periods, the earliest. 0: all."""
    stream_share: Share = setting(1.0, affects="results")
    """Share of each period's rows that is trained, drawn at random. Probes ask about all rows."""
    stream_seconds: NonNegativeFloat = setting(0.0, affects="results")
    """Time-limited stream: seconds that training on a period may take on average. A method that
    takes longer trains on a share of each period's rows, by a short measurement at the start; a
    resumed run keeps its share. 0: no limit."""

    prompt_format: PromptFormat = setting("sentinel", affects="scoring")
    """Prompt of a fact. Encoder-decoders: `sentinel` puts a sentinel token in place of the object;
    `prefix` ends before the object. Decoders: `completion` ends before the object; `question` is a
    question and "Answer:"; `chat` is a message in the tokenizer's own template."""
    start_token: NonEmptyText = setting("auto", affects="scoring")
    """Token before each prompt and document of a decoder. `auto`: the one that the tokenizer adds
    itself, if any. `none`: no token. Otherwise a token, such as `<|endoftext|>`."""
    shots: NonNegativeInt = setting(0, affects="scoring")
    """Solved questions before each probe of a decoder, from the base knowledge. They show an
    untaught model the form of answers. Training has none."""
    loss_on: Literal["answer", "all"] = setting("answer", affects="results")
    """Tokens of a fact on which a decoder's loss is: the answer and its end token, or the prompt
    too. Documents are predicted whole."""
    wordings: PositiveInt = setting(1, affects="results")
    """Number of wordings in which a fact is taught in turn: epoch e uses number e modulo this, or
    modulo the fact's taught wordings if it has fewer. The number of examples stays the same."""
    document_objective: DocumentObjective = setting("span_corruption", affects="results")
    """Training objective of documents. Encoder-decoders: span corruption of random spans, or of
    salient spans (names, dates and numbers). Decoders: next_token."""
    input_length: Annotated[int, Field(ge=2)] = setting(64, affects="scoring")
    """Maximum number of input tokens. Longer prompts are truncated; longer documents are split."""
    output_length: PositiveInt = setting(32, affects="scoring")
    """Maximum number of target tokens. A longer answer is an error and is never truncated."""

    num_train_epochs: PositiveInt = setting(12, affects="results")
    """Number of epochs per period."""
    train_batch_size: PositiveInt = setting(32, affects="results")
    """Examples per optimizer step and device, before gradient accumulation."""
    gradient_accumulation_steps: PositiveInt = setting(1, affects="results")
    """Gradient accumulation: an optimizer step uses this many times train_batch_size examples per
    device."""
    coreset: Literal["none", "random", "k_center", "loss_net"] = setting("none", affects="results")
    """Part of each optimizer batch that is trained. none: all of it. random: a random part.
    k_center: the centers of the greedy k-center algorithm on mean input embeddings. loss_net: the
    largest losses, as predicted by a small network that is trained beside the model."""
    coreset_ratio: Share = setting(0.5, affects="results")
    """Share of an optimizer batch that the coreset has. No effect with coreset = none."""
    repeat_num: PositiveInt = setting(1, affects="results")
    """Optimizer steps in a row on the same optimizer batch, or on the same coreset of it."""
    micro_batch_tokens: NonNegativeInt = setting(1024, affects="results")
    """Padded input tokens of one forward pass. Any value gives the same gradients. 0: use
    train_batch_size."""
    pack_length: NonNegativeInt = setting(128, affects="results")
    """Sequence packing with block-diagonal attention: maximum number of input tokens of a row.
    The loss equals that of unpacked rows. A model whose attention cannot be restricted so is not
    packed. 0: no packing."""
    encoder_cache: Literal["auto", "off", "fp32", "bf16"] = setting("auto", affects="results")
    """Disk cache for the outputs of a frozen encoder, which then runs once per period, without
    dropout. auto: fp32 with several epochs. bf16: half the space; not used for scoring."""
    encoder_cache_mib: PositiveInt = setting(4096, affects="results")
    """Maximum size of the encoder cache on disk, in MiB."""
    learning_rate: PositiveFloat = setting(1e-3, affects="results")
    """Peak learning rate; absolute for Adafactor, too."""
    use_lr_scheduling: bool = setting(False, affects="results")
    """Learning rate schedule of each period: linear warmup over a tenth of the steps, then linear
    decay. false: constant."""
    optimizer: Literal["adafactor", "adamw"] = setting("adafactor", affects="results")
    """Optimizer, unless the method has its own."""
    weight_decay: NonNegativeFloat = setting(0.0, affects="results")
    """Decoupled weight decay of matrices. Vectors have none."""
    max_grad_norm: NonNegativeFloat = setting(0.5, affects="results")
    """Maximum global gradient norm; larger gradients are scaled down. 0: no limit."""
    on_nan: Literal["stop", "skip"] = setting("stop", affects="results")
    """On a NaN or infinite loss: stop, or skip the step (at most 10 in a row)."""
    reset_optimizer_per_period: bool = setting(True, affects="results")
    """Reset the optimizer's state at the start of each period."""
    load_in: LoadIn = setting("fp32", affects="results")
    """Storage of the base model's linear maps: fp32, or quantized by bitsandbytes (8bit: LLM.int8;
    4bit: NF4, on a GPU alone), which takes a quarter or an eighth of the memory. Quantized maps do
    not train: freeze_level = 2, with a method that adds parameters, such as lora."""
    freeze_level: Literal[0, 1, 2] = setting(0, affects="results")
    """Frozen parameters. 0: none. 1: embeddings and encoder, or the lower half of a decoder's
    blocks. 2: all that the base model has."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = setting(0, affects="results")
    """Random seed."""

    ngpu: PositiveInt = setting(1, affects="results")
    """Processes that an optimizer step is meant for: it has train_batch_size x
    gradient_accumulation_steps x ngpu examples, however many processes share them."""
    num_workers: NonNegativeInt = setting(0, affects="nothing")
    """Processes that prepare batches. 0: the training process prepares them."""
    mixed_precision: Literal["no", "bf16", "auto"] = setting("no", affects="results")
    """Precision of the forward pass in training; weights and optimizer stay fp32. auto: bf16
    if a short measurement at the start finds it faster on this device; a resumed run keeps its
    precision. Scoring is always fp32."""
    gradient_checkpointing: bool = setting(False, affects="results")
    """Compute activations again in the backward pass: less memory, a longer step, equal gradients
    apart from rounding."""
    sharding: Sharding = setting("none", affects="nothing", in_evaluation=True)
    """What several processes share. none: nothing (DDP). fsdp: weights, gradients and optimizer
    state, by torch's fully_shard. zero1, zero2, zero3: by DeepSpeed, the optimizer state; the
    gradients too; the weights too. With _offload, the shared parts are in the CPU's memory."""
    scoring_weights: ScoringWeights = setting("auto", affects="nothing", in_evaluation=True)
    """While a sharded model answers probes: gathered has all weights on each process; sharded
    gathers each block for each pass alone, which needs little memory and more communication. auto:
    gathered if all weights take at most half of the memory that is free on each GPU."""
    use_deepspeed: bool = setting(False, affects="nothing")
    """DeepSpeed, as in the original configs: true is read as sharding = "zero2", unless sharding
    states another stage."""

    eval_batch_size: PositiveInt = setting(256, affects="results", in_evaluation=True)
    """Maximum number of probes per device and batch."""
    eval_batch_tokens: NonNegativeInt = setting(4096, affects="results", in_evaluation=True)
    """Maximum number of padded input tokens per evaluation batch. 0: use eval_batch_size."""
    eval_every: NonNegativeInt = setting(0, affects="scoring")
    """Evaluate after this many periods. 0: at most 12 evaluations, evenly spread."""
    eval_lookback: NonNegativeInt = setting(0, affects="results", in_evaluation=True)
    """Number of past evaluated phases that each evaluation probes again. 0: all."""
    max_probes_per_set: NonNegativeInt = setting(500, affects="scoring")
    """Maximum number of probes of a keep-set, and of cloze per phase, sampled with a fixed seed.
    0: all."""
    probes: str = setting("", affects="scoring")
    """Further probe sets, which are asked beside those of the dataset and never taught: names or
    folders of datasets with `probes`, or single probe files, separated by commas."""
    ranked_sets: str = setting("lama", affects="scoring")
    """Probe sets whose right answers are ranked among candidates by likelihood, for P@1 and P@10:
    names, or their beginnings, separated by commas."""
    ranked_among: str = setting("", affects="scoring")
    """File of the candidates of ranked_sets, one a line. Empty: all answers of the probe's relation
    in its set."""
    known_only: bool = setting(False, affects="scoring")
    """Ask only those facts to keep that the model answers right before training, so that forgetting
    is measured on what it knew. Decoders that were pretrained elsewhere know a part of them.
    `fki eval` asks all."""
    num_beams: PositiveInt = setting(1, affects="scoring")
    """Beams in answer generation. 1: greedy decoding."""
    teach_base: bool = setting(False, affects="results")
    """Teach the model the dataset's base knowledge, base and invariant, before the stream: once for
    all methods and seeds, by fine-tuning all weights. The taught model is a folder beside the runs,
    and becomes the run's model."""
    check_validation: bool = setting(False, affects="results")
    """Evaluate without training."""
    continue_from: str = setting("", affects="results")
    """Run or checkpoint whose weights a new run starts from. Empty: the weights of model."""
    checkpoint_path: str = setting("", affects="results")
    """Weights to evaluate with check_validation. Empty: the model as it is."""

    output_dir: str = setting("", affects="nothing", is_location=True)
    """Run directory. Empty: a new directory under runs/."""
    output_log: str = setting("", affects="nothing", is_location=True)
    """Additional copy of the scores: a folder, a .csv or a .jsonl file."""
    keep_last: PositiveInt = setting(2, affects="nothing")
    """Number of newest checkpoints to keep."""
    keep_best: NonNegativeInt = setting(0, affects="nothing")
    """Number of additional checkpoints to keep: those with the best scores, of facts to keep and
    facts to learn together."""
    save_every_steps: NonNegativeInt = setting(0, affects="nothing")
    """Save a checkpoint after this many optimizer steps, too. 0: only after each scored phase."""

    budget: Budget = setting(Budget(), affects="results")
    """Limits of a period's training; the table [budget] in TOML."""
    options: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Options of the methods, by table. In TOML each is a table of its own, such as [recadam]."""

    @property
    def arm(self) -> str:
        """The method; `initial` if the run evaluates the untouched model."""
        return name_arm(self.__dict__)

    def options_for(self, table: str) -> dict[str, Any]:
        """The validated options of a method's table, with defaults; empty if it has none."""
        return dict(self.options.get(table, {}))

    @field_validator("mixed_precision", mode="before")
    @classmethod
    def _no_fp16(cls, value: object) -> object:
        if value == "fp16":
            raise ValueError(
                "must be 'bf16' or 'no', not 'fp16': feed-forward layers of T5 overflow in fp16."
            )
        return value

    @field_validator("dataset_version")
    @classmethod
    def _is_version(cls, value: str) -> str:
        return check_version(value)

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


def name_arm(settings: Mapping[str, Any]) -> str:
    """The method of a run; `initial` if it evaluates the untouched model."""
    starts = settings.get("checkpoint_path") or settings.get("continue_from")
    is_initial = settings.get("check_validation") is True and not starts
    method = str(settings["method"])
    return INITIAL if is_initial and method == "vanilla" else method


def folder_name(arm: str) -> str:
    """An arm's name as a part of a folder's name: some file systems refuse colons."""
    return arm.replace(":", "_")


def effect_of(name: str) -> Effect:
    """The effect of a setting; the options of methods always affect results."""
    return _metadata(name)["affects"]


def settings_affecting(effect: Effect) -> tuple[str, ...]:
    """The names of the settings with this effect, in their order."""
    return tuple(name for name in SETTINGS if effect_of(name) == effect)


def location_settings() -> tuple[str, ...]:
    """The names of the settings that are paths to write to."""
    return tuple(name for name in SETTINGS if _metadata(name)["is_location"])


def evaluation_settings() -> tuple[str, ...]:
    """The names of the settings that an evaluation outside of training reads."""
    return tuple(name for name in SETTINGS if _metadata(name)["in_evaluation"])


def _metadata(name: str) -> dict[str, Any]:
    return cast(dict[str, Any], Config.model_fields[name].json_schema_extra)


SETTINGS = tuple(name for name in Config.model_fields if name != "options")
TABLES: dict[str, type[BaseModel]] = {"budget": Budget}  # settings that are tables


def describe_setting(key: str, options_of_table: Callable[[str], type[BaseModel]]) -> str:
    """The sentences of a setting, or of an option such as `lora.r`.

    Args:
        options_of_table: the class of the options of a method's table.
    """
    table, _, name = key.rpartition(".")
    return model_of_table(table, options_of_table).model_fields[name].description or ""


def model_of_table(
    table: str, options_of_table: Callable[[str], type[BaseModel]]
) -> type[BaseModel]:
    """The class of the settings in a table; "" is that of all other settings."""
    return Config if not table else TABLES.get(table) or options_of_table(table)


def to_dict(config: Config) -> dict[str, Any]:
    """All settings, then the tables of options, nested as in TOML."""
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
    """A preset with every setting. Resolving it alone gives an equal config."""
    return "# Every setting of one run.\n" + tomli_w.dumps(to_dict(config))


def find_conflicts(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (key, requirement) for settings that are valid alone but not together."""
    if settings.get("checkpoint_path") and settings.get("check_validation", False) is False:
        text = "requires check_validation = true. To train from model: --set checkpoint_path="
        yield "checkpoint_path", text
    replay, method = settings.get("replay", "auto"), settings.get("method")
    if method in ("joint", "retrieval") and replay not in ("auto", "none"):
        yield (
            "replay",
            f"= '{replay}' does not fit method = '{method}', which has all examples. "
            + (f"Add: --set replay=none, or --preset t5_{method}"),
        )
    if settings.get("shots") and method == "retrieval":
        yield "shots", "does not fit method = 'retrieval', which has passages before each question."
    if settings.get("shots") and settings.get("prompt_format") == "chat":
        yield "shots", "does not fit prompt_format = 'chat'. Add: --set prompt_format=question"
    if method == "mixreview" and replay not in ("auto", "uniform"):
        text = (
            f"= '{replay}' contradicts method = 'mixreview', which is vanilla with uniform replay."
        )
        yield "replay", f"{text} Add: --method vanilla"
    if settings.get("load_in", "fp32") != "fp32" and settings.get("freeze_level") != 2:
        text = "requires freeze_level = 2: quantized weights do not train. Add: --set "
        yield "load_in", f"= '{settings['load_in']}' {text}freeze_level=2"
    if settings.get("sharding", "none") != "none":
        yield from _find_sharding_conflicts(settings)
    if settings.get("reset") == "base":
        yield from _find_reset_conflicts(settings)
    for key in ("continue_from", "checkpoint_path"):
        if settings.get("teach_base") and settings.get(key):
            yield (
                "teach_base",
                f"does not fit {key}: those weights are not taught. Set one of both.",
            )
    if settings.get("stream_seconds") and settings.get("stream_share", 1.0) != 1.0:
        yield "stream_seconds", "measures the share that stream_share states: set one of both."


def _find_sharding_conflicts(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What does not fit shards: what needs whole weights in the middle of a training step."""
    name = settings["sharding"]
    is_deepspeed = settings.get("use_deepspeed", False)
    if is_deepspeed and not name.startswith("zero"):
        yield (
            "use_deepspeed",
            f"= true does not fit sharding = '{name}', which is torch's own. Set one of both.",
        )
    if settings.get("optimizer") == "adafactor" and settings.get("method") != "recadam":
        cause = "use_deepspeed = true" if is_deepspeed else f"sharding = '{name}'"
        text = f"needs whole rows and columns, which {cause} splits. Add: --set optimizer=adamw"
        yield "optimizer", f"= 'adafactor' {text}"
    if settings.get("load_in", "fp32") != "fp32":
        yield "sharding", f"= '{name}' does not fit quantized weights. Add: --set load_in=fp32"
    if name in WHOLE_WEIGHTS:
        return
    if settings.get("method") == "kd":
        yield (
            "sharding",
            f"= '{name}' does not fit method = 'kd', which swaps weights within a step.",
        )
    if settings.get("coreset") in ("k_center", "loss_net"):
        text = "selects with parts of the model. Add: --set coreset=random"
        yield "sharding", f"= '{name}' does not fit coreset = '{settings['coreset']}', which {text}"
    if settings.get("encoder_cache") in ("fp32", "bf16"):
        yield (
            "encoder_cache",
            "needs the whole encoder on each process. Add: --set encoder_cache=off",
        )


def _find_reset_conflicts(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What does not fit reset = "base": whatever carries over from one period to the next."""
    if settings.get("method") in ("joint", "retrieval"):
        text = f"= '{settings['method']}' has all periods so far. Add: --set reset=none"
        yield "method", text
    if settings.get("eval_every", 0) > 1:
        yield "eval_every", "must be 0 or 1 with reset = 'base': each period is evaluated alone."
    if settings.get("reset_optimizer_per_period") is False:
        yield "reset_optimizer_per_period", "= false does not fit reset = 'base'."
