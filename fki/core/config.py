"""The settings: what each one is called, what it may be, and how layers of them become one.

A layer is a preset file, the environment or the command line. `resolve` lays them over one
another, checks everything at once and remembers where each value came from.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_args, get_origin

import tomli_w
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from fki.core import registry
from fki.core.errors import ConfigError, FkiError, nearest
from fki.core.types import Version

Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
PositiveOrZero = Annotated[float, Field(ge=0)]
Name = Annotated[str, Field(min_length=1)]


class Config(BaseModel):
    """Every setting of a run. Frozen; made by `resolve`, which also fills `options`."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )

    model: Name = "t5-mini"
    """The model to teach: the embedded t5-mini, a folder, or a name on the Hugging Face Hub."""
    method: Name = "vanilla"
    """How to teach it: a method of fki's or of an installed plug-in."""
    dataset: Name = "wiki"
    """What to teach: a known dataset or a folder with one."""
    dataset_version: Version = "quarter"
    """How long a period is."""
    max_periods: CountOrZero = 0
    """Only the first so many periods; 0: all."""

    prompt: Literal["sentinel", "prefix"] = "sentinel"
    """How a fact is asked: with a sentinel for its object, or with the wording up to its object."""
    input_length: Count = 64
    """At most this many input tokens; the rest of a longer input is cut off."""
    output_length: Count = 32
    """At most this many target tokens; a longer answer is an error, never cut off."""

    num_train_epochs: Count = 12
    """How often each period's facts are learned."""
    train_batch_size: Count = 32
    """Examples per optimizer step and device, before accumulation."""
    gradient_accumulation_steps: Count = 1
    """An optimizer step has this many times train_batch_size examples per device."""
    micro_batch_tokens: CountOrZero = 1024
    """Padded input tokens of one forward pass; it is exact for any value. 0: train_batch_size."""
    learning_rate: Positive = 1e-3
    """The peak learning rate, absolute also for Adafactor."""
    use_lr_scheduling: bool = False
    """Per period: warm up over the first tenth of the steps, then fall linearly; else constant."""
    optimizer: Literal["adafactor", "adamw"] = "adafactor"
    """The optimizer, unless the method brings its own."""
    weight_decay: PositiveOrZero = 0.0
    """Decoupled weight decay of matrices; vectors have none."""
    max_grad_norm: PositiveOrZero = 0.5
    """The global norm that gradients are scaled down to when above it; 0: no limit."""
    reset_optimizer_per_period: bool = True
    """Start each period with a fresh optimizer state."""
    freeze_level: Literal[0, 1, 2] = 0
    """0: all weights train; 1: not encoder and embeddings; 2: only what the method adds."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """What all randomness follows from."""

    ngpu: Count = 1
    """Devices that the run is meant for, one process each."""
    num_workers: CountOrZero = 0
    """Processes that prepare batches; 0: the training process itself."""
    mixed_precision: Literal["no", "bf16"] = "no"
    """The precision of the forward pass."""
    use_deepspeed: bool = False
    """DeepSpeed; not possible yet, so only false is accepted."""

    eval_batch_size: Count = 256
    """Probes per device that are answered at once."""
    eval_every: CountOrZero = 0
    """Score after every so many periods; 0: such that there are at most 12 evaluations."""
    eval_window: CountOrZero = 0
    """How many past scored phases each evaluation looks back over; 0: all."""
    eval_samples: CountOrZero = 500
    """At most this many probes of each keep-set, drawn once with a fixed seed; 0: all."""
    num_beams: Count = 1
    """Beams when an answer is generated; 1: greedy."""
    check_validation: bool = False
    """Only evaluate, train nothing."""
    checkpoint_path: str = ""
    """The weights that check_validation evaluates; empty: the model as it is."""

    output_dir: str = ""
    """The run's folder; empty: a new one under runs/."""
    output_log: str = ""
    """Where a further copy of the scores goes: a folder, a .csv or a .jsonl file."""
    keep_last: Count = 2
    """How many checkpoints are kept."""

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

    @model_validator(mode="after")
    def _no_clash(self) -> "Config":
        for key, text in _clashes(self.__dict__):
            raise ValueError(f"{key} {text}")
        return self


SETTINGS = tuple(name for name in Config.model_fields if name != "options")


@dataclass(frozen=True, slots=True)
class Layer:
    """Values from one place, and where each dotted key stands ("t5.toml:7", "--set")."""

    values: Mapping[str, Any]
    origins: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Resolved:
    """A checked config, where each dotted key came from, and what the user should be told."""

    config: Config
    origins: dict[str, str]
    notes: tuple[str, ...] = ()


def resolve(layers: Sequence[Layer], *, options_of: Callable[[str], type[BaseModel]]) -> Resolved:
    """One config from layers, low to high; tables merge key by key.

    Args:
        options_of: gives the class of a method's options, such as `registry.options_of`; asked
            only for the chosen method and for tables that are present.
    Raises:
        ConfigError: one line for every unknown key and every value that cannot be used.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for layer in layers:
        values = _laid_over(values, layer.values)
        origins |= layer.origins
    problems = _Problems(origins)
    notes = _name_method(values, problems)
    classes = _options_classes(values, options_of, problems)
    options = {table: _checked(values, table, classes[table], problems) for table in classes}
    settings = {key: values[key] for key in values if key in SETTINGS}
    _refuse_unknown(values.keys() - {*SETTINGS, *classes}, classes, problems)
    for key, text in _clashes(settings):
        problems.add(key, f"{key} {text}")
    config = Config()
    try:
        config = Config(**settings, options=options)
    except ValidationError as error:
        problems.add_invalid(error, Config)
    problems.raise_if_any()
    return Resolved(config, {key: origins.get(key, "default") for key in _leaves(config)}, notes)


def as_dict(config: Config) -> dict[str, Any]:
    """All settings, then the tables of options, as TOML has them."""
    flat = config.model_dump()
    options: dict[str, Any] = flat.pop("options")
    return flat | options


def to_toml(config: Config) -> str:
    """A preset that states every key; resolving it alone gives an equal config."""
    return "# Every setting of one run.\n" + tomli_w.dumps(as_dict(config))


def _leaves(config: Config) -> Iterator[str]:
    """The dotted key of every value."""
    for key, value in as_dict(config).items():
        if isinstance(value, dict):
            yield from (f"{key}.{name}" for name in value)
        else:
            yield key


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    laid = dict(below)
    for key, value in above.items():
        if isinstance(value, Mapping):
            under = laid.get(key)
            value = _laid_over(under if isinstance(under, Mapping) else {}, value)
        laid[key] = value
    return laid


def _clashes(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(key, what must hold) for settings that are fine alone but not together."""
    if settings.get("checkpoint_path") and settings.get("check_validation", False) is False:
        yield "checkpoint_path", "is only read when check_validation = true."


@dataclass(slots=True)
class _Problems:
    """What is wrong so far, one line each, with the place where it stands."""

    origins: Mapping[str, str]
    lines: list[str] = field(default_factory=list)

    def add(self, key: str, text: str) -> None:
        place = self.place(key)
        line = f"{place}: {text}" if place else text
        if line not in self.lines:
            self.lines.append(line)

    def add_invalid(self, error: ValidationError, model: type[BaseModel], table: str = "") -> None:
        """One line for each error that pydantic found, in our words."""
        for found in error.errors(include_url=False):
            parts = [table, *map(str, found["loc"])] if table else [*map(str, found["loc"])]
            if parts:  # without parts it is what _clashes has told already
                self.add(".".join(parts), _in_words(".".join(parts), found, model))

    def raise_if_any(self) -> None:
        if len(self.lines) == 1:
            raise ConfigError(self.lines[0])
        if self.lines:
            listed = "".join(f"\n  {line}" for line in self.lines)
            raise ConfigError(f"{len(self.lines)} settings cannot be used:{listed}")

    def place(self, key: str) -> str:
        """Where the key stands, or else the table around it; "" if nobody wrote it."""
        while key not in self.origins and "." in key:
            key = key.rpartition(".")[0]
        return self.origins.get(key, "")


def _name_method(values: dict[str, Any], problems: _Problems) -> tuple[str, ...]:
    """Put the method's registered name in place of an alias; the notes say so."""
    method = values.get("method", "vanilla")
    if not isinstance(method, str):
        return ()  # its type is refused with the others
    try:
        values["method"], note = registry.canonical(method)
    except ConfigError as error:
        problems.add("method", str(error))
        del values["method"]
        return ()
    return (f"{problems.place('method')}: {note}",) if note else ()


def _options_classes(
    values: Mapping[str, Any],
    options_of: Callable[[str], type[BaseModel]],
    problems: _Problems,
) -> dict[str, type[BaseModel]]:
    """The class of the chosen method's table and of every other table that is present."""
    classes: dict[str, type[BaseModel]] = {}
    method = values.get("method")
    try:
        if isinstance(method, str) and (table := registry.table_of(method)):
            classes[table] = options_of(method)
        for key in values:
            if key not in SETTINGS and key not in classes:
                owner = registry.method_of_table(key)
                if owner:
                    classes[key] = options_of(owner)
    except FkiError as error:
        problems.add("method", str(error))
    return classes


def _checked(
    values: Mapping[str, Any], table: str, options: type[BaseModel], problems: _Problems
) -> dict[str, Any]:
    """The table with its defaults; without options that are None, which TOML cannot say."""
    stated = values.get(table, {})
    if not isinstance(stated, dict):
        problems.add(table, f"{table} must be a table, [{table}], not {_shown(stated)}.")
        return {}
    try:
        return options.model_validate(stated).model_dump(mode="json", exclude_none=True)
    except ValidationError as error:
        problems.add_invalid(error, options, table)
        return {}


def _refuse_unknown(
    keys: Iterable[str], classes: Mapping[str, type[BaseModel]], problems: _Problems
) -> None:
    """Tell of each key that is no setting and no table, with the nearest that is."""
    homes = {option: table for table in classes for option in classes[table].model_fields}
    for key in sorted(keys):
        if key in homes:
            suggestion = f" Did you mean '{homes[key]}.{key}'?"
        else:
            suggestion = nearest(key, [*SETTINGS, *registry.table_names()])
        problems.add(key, f"unknown key '{key}'.{suggestion}")


def _in_words(key: str, found: ErrorDetails, model: type[BaseModel]) -> str:
    """What pydantic found, told as: what must hold, and what is."""
    name = str(found["loc"][0]) if found["loc"] else ""
    fields, value = model.model_fields, found["input"]
    if found["type"] == "extra_forbidden":
        return f"unknown key '{key}'.{nearest(name, fields)}"
    if found["type"] == "missing":
        return f"{key} must be given."
    if found["type"] == "value_error":
        text = str(found["ctx"]["error"])
        return f"{key} {text}" if text.startswith("must ") else f"{key}: {text}"
    must_be = _must_be(fields[name].annotation, fields[name].metadata) if name in fields else ""
    if not must_be or len(found["loc"]) > 1:
        return f"{key}: {found['msg']}."
    close = nearest(value, _choices(fields[name].annotation)) if isinstance(value, str) else ""
    return f"{key} must be {must_be}, not {_shown(value)}.{close}"


KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
BOUNDS = {"gt": "greater than", "ge": "of at least", "lt": "less than", "le": "of at most"}


def _must_be(annotation: Any, metadata: Sequence[Any]) -> str:
    """What a field takes, such as `a number greater than 0`; "" if that is not simple."""
    if choices := _choices(annotation):
        *most, last = [_shown(choice) for choice in choices]
        return f"{', '.join(most)} or {last}" if most else last
    if annotation is str and any(getattr(rule, "min_length", 0) for rule in metadata):
        return "text that is not empty"
    bounds = [
        f"{words} {getattr(rule, bound)}"
        for rule in metadata
        for bound, words in BOUNDS.items()
        if hasattr(rule, bound)
    ]
    kind = KINDS.get(annotation, "")
    return f"{kind} {' and '.join(bounds)}".strip() if kind else ""


def _choices(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def _shown(value: object) -> str:
    """A value as TOML would have it, roughly."""
    if isinstance(value, bool):
        return str(value).lower()
    return "a table" if isinstance(value, dict) else repr(value)
