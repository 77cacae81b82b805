"""Build the parts of a run from its config: data, model, method, trainer, evaluator.

Everything that can fail is checked here, before the first step: the data, the model, the lengths of
all answers, the method's options and the weights that the run starts from.
"""

import gc
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from accelerate import Accelerator
from torch import nn
from transformers import PreTrainedModel

from fki.config.schema import WHOLE_WEIGHTS, Config
from fki.core.errors import ConfigError
from fki.core.formatting import format_command
from fki.core.paths import data_home, expand_path
from fki.core.types import Example, Period, Stream
from fki.data.base_stream import base_examples, to_base_stream
from fki.data.collator import ExampleTokenizer, TargetCheck
from fki.data.input_checks import SourceCheck
from fki.data.lazy_sequence import LazySequence
from fki.data.open_dataset import open_stream
from fki.data.replay_corpus import read_corpus
from fki.data.stream import describe_missing_dates
from fki.evaluation.evaluator import Evaluator
from fki.evaluation.schedule import Phase, ProbeSchedule, check_probes, make_phases
from fki.evaluation.shots import question_tokenizer
from fki.methods.base import Method, make_method
from fki.modeling import load, zero
from fki.modeling.architecture import check_fits_model
from fki.modeling.device import make_accelerator, select_device
from fki.modeling.encoder_cache import EncoderCache, FrozenEncoder
from fki.modeling.load import BaseModel, make_example_tokenizer
from fki.modeling.modeling_fki import FkiT5ForConditionalGeneration
from fki.modeling.precision import Precision, choose_precision
from fki.modeling.quantized import check_trainable
from fki.replay.base import make_replay
from fki.runs import checkpoint, resume
from fki.runs.run_dir import RUN
from fki.training.stream_limit import StreamLimit, choose_limit, thin_phases
from fki.training.trainer import Trainer


@dataclass(frozen=True)
class Session:
    """The parts of a run, checked and in memory."""

    config: Config
    stream: Stream
    base: BaseModel
    model: nn.Module  # prepared by the method
    method: Method
    tokenizer: ExampleTokenizer
    trainer: Trainer
    evaluator: Evaluator
    accelerator: Accelerator
    precision: Precision
    phases: list[Phase]  # with the rows that are trained
    stream_limit: StreamLimit
    schedule: ProbeSchedule
    base_digest: str  # SHA-256 of the base model's weights
    added_parameters: int  # that the method adds
    input_notes: list[str]  # about dates, and questions and answers that do not fit the model

    @property
    def periods(self) -> list[Period]:
        """The periods to train on, in order; none if the run only evaluates."""
        if self.config.check_validation:
            return []
        return [period for phase in self.phases for period in phase.periods]

    @property
    def expected_steps(self) -> dict[str, int]:
        """Optimizer steps of each period; a method that mixes in examples may take more."""
        if not self.method.trains:
            return {period.name: 0 for period in self.periods}
        return {period.name: self.trainer.planner.expected_steps(period) for period in self.periods}

    @property
    def is_main(self) -> bool:
        """Is this the process that writes and prints?"""
        return bool(self.accelerator.is_main_process)


def build_session(config: Config, *, allow_resume: bool = False) -> Session:
    """Read the data, load the model and prepare it. Raises FkiError if anything cannot be used.

    With `teach_base`, the session teaches the base knowledge, as `training.teach_base` does before
    a run.

    Args:
        allow_resume: as in `Runner.start`.
    """
    stream = open_stream(
        config.dataset,
        config.dataset_version,
        config.prompt_format,
        config.wordings,
        config.probes,
    )
    if config.teach_base:
        stream = to_base_stream(stream, config.prompt_format, config.wordings)
    _check_no_run(config.model)
    check_trainable(config.load_in, select_device())
    base = load.load_base_model(config.model, config.load_in)
    check_fits_model(config, base.model)
    _check_trainable(base.model, config.model)
    precision = _choose_precision(config, base.model, allow_resume=allow_resume)
    accelerator = make_accelerator(precision.name)
    if zero.stage_of(config.sharding) and accelerator.num_processes > 1:
        zero.import_deepspeed()
    phases = make_phases(stream, config)
    schedule = ProbeSchedule(stream, phases, config)
    method, replay = make_method(config), make_replay(config)
    corpus = replay.corpus or method.corpus
    review = _load_review(stream, corpus, config)
    with accelerator.main_process_first():  # the first process tokenizes, the others read its cache
        tokenizer = make_example_tokenizer(base.tokenizer, config, accelerator.device)
        examples = [period.examples for phase in phases for period in phase.periods]
        parts = [*examples, review] if corpus else examples
        targets = TargetCheck(tokenizer)
        input_notes = [
            *describe_missing_dates(stream),
            *stream.notes,
            *_check_examples(parts, tokenizer, targets),
            *_count_wordings(examples, config.wordings),
            *check_probes(schedule.cells, tokenizer, targets),
        ]
        tokenizer.token_cache.flush()
    base_digest = load.weights_digest(base.model)
    base_parameters, _ = load.count_parameters(base.model)
    if config.gradient_checkpointing:
        _checkpoint_activations(base.model)
    torch.manual_seed(config.seed)  # for parameters that the method adds
    model = method.prepare(base.model)
    parameters, _ = load.count_parameters(model)
    _load_start_weights(model, config.checkpoint_path, config.continue_from)
    dtype = config.encoder_cache
    frozen = method.frozen_encoder(model)
    # a cache runs the encoder alone, on whole weights
    dtype = dtype if config.sharding in WHOLE_WEIGHTS else "off"
    cache = make_encoder_cache(frozen, tokenizer, dtype, config.encoder_cache_mib)
    input_notes += method.check_inputs([review, *examples], tokenizer)
    training_cache = cache if trains_from_cache(dtype, config.num_train_epochs) else None
    evaluation_cache = cache if dtype != "bf16" else None  # scores are fp32
    trainer = Trainer(model, method, config, tokenizer, accelerator, review, training_cache, replay)
    input_notes += _note_packing(config, trainer)
    limit = _limit_stream(config, trainer, phases, allow_resume=allow_resume)
    evaluator = Evaluator(
        tokenizer,
        config,
        accelerator,
        evaluation_cache,
        question_tokenizer(method, tokenizer, stream, schedule.cells, config.shots),
    )
    if config.known_only:
        keep_sets = [s.name for s in stream.probe_sets if s.asks == "keep"]
        input_notes += schedule.keep_known(keep_sets, lambda asked: evaluator.predict(model, asked))
    return Session(
        config=config,
        stream=stream,
        base=base,
        model=model,
        method=method,
        tokenizer=tokenizer,
        trainer=trainer,
        evaluator=evaluator,
        accelerator=accelerator,
        precision=precision,
        phases=thin_phases(phases, limit.share, config.seed),
        stream_limit=limit,
        schedule=schedule,
        base_digest=base_digest,
        added_parameters=parameters - base_parameters,
        input_notes=input_notes,
    )


def _choose_precision(config: Config, model: nn.Module, *, allow_resume: bool) -> Precision:
    """The configured precision, the measured one, or that of the run which is resumed."""
    is_measured = config.mixed_precision == "auto"
    recorded = resume.recorded_precision(config, allow_resume=allow_resume) if is_measured else ""
    return choose_precision(config.mixed_precision, model, select_device(), recorded)


def _checkpoint_activations(model: PreTrainedModel) -> None:
    """Let the backward pass compute activations again."""
    own = "activation_checkpointing_enable"  # since transformers 5.20; the older name warns
    enable = getattr(model, own, None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})


def _note_packing(config: Config, trainer: Trainer) -> list[str]:
    """A note if rows are not packed although they should be."""
    if not (config.pack_length and trainer.method.trains) or trainer.batcher.pack_length:
        return []
    return [
        f"Rows are not packed: '{config.model}' with {config.method} cannot keep the examples of a "
        "row apart."
    ]


def _limit_stream(
    config: Config, trainer: Trainer, phases: Sequence[Phase], *, allow_resume: bool
) -> StreamLimit:
    """The configured share of the rows, the measured one, or that of the run which is resumed."""
    if config.check_validation:
        return StreamLimit()
    is_measured = config.stream_seconds > 0
    if not trainer.method.trains:
        return StreamLimit(config.stream_share)
    recorded = resume.recorded_stream(config, allow_resume=allow_resume) if is_measured else None
    periods = [period for phase in phases for period in phase.periods]
    return choose_limit(config, trainer, periods, StreamLimit(*recorded) if recorded else None)


def _check_no_run(name: str) -> None:
    """Raises ConfigError if the model's name is the path of a run or of a checkpoint."""
    folder = expand_path(name)
    if (folder / RUN).is_file() or (folder / checkpoint.WEIGHTS).is_file():
        raise ConfigError(
            f"{name} is a run, not a base model.",
            hint=f"To train further from its weights: {format_command('--continue-from', name)}",
        )


def _check_trainable(model: nn.Module, name: str) -> None:
    """Raises ConfigError for an exported model with a branch: methods need a plain encoder."""
    if isinstance(model, FkiT5ForConditionalGeneration):
        raise ConfigError(
            f"'{name}' is an exported model with a branch beside its encoder. fki can "
            "evaluate it, but not train it further.",
            hint="Continue from the run that it was exported from: --continue-from RUN",
        )


def _load_start_weights(model: nn.Module, checkpoint_path: str, continue_from: str) -> None:
    """Load the checkpoint of either setting, if one is set."""
    stated = {"checkpoint_path": checkpoint_path, "continue_from": continue_from}
    for setting, path in stated.items():
        if path:
            checkpoint.load(checkpoint.find(expand_path(path), setting), model)


def free_memory() -> None:
    """Free sessions that are no longer referenced; their parts form reference cycles."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _load_review(stream: Stream, corpus: str, config: Config) -> Sequence[Example]:
    """Examples for methods that replay: their corpus, or else the stream's base knowledge.

    Base knowledge is read lazily, whenever it is iterated. A base fact that begins after the first
    period is not known yet.
    """
    if corpus:
        return read_corpus(expand_path(corpus), config.prompt_format)
    read = partial(base_examples, stream, config.prompt_format, config.wordings)
    return LazySequence(None, read)


def make_encoder_cache(
    frozen: FrozenEncoder | None, tokenizer: ExampleTokenizer, encoder_cache: str, max_mib: int
) -> EncoderCache | None:
    """The cache of a frozen encoder; None if the encoder trains or `encoder_cache` is off."""
    if frozen is None or encoder_cache == "off":
        return None
    return EncoderCache(
        frozen,
        tokenizer,
        dtype="bf16" if encoder_cache == "bf16" else "fp32",
        max_bytes=max_mib * 2**20,
        folder=data_home() / "states",
    )


def trains_from_cache(encoder_cache: str, num_train_epochs: int) -> bool:
    """Does training read the encoder cache? For a single epoch it saves nothing."""
    is_stated = encoder_cache in ("fp32", "bf16")
    return is_stated or (encoder_cache == "auto" and num_train_epochs > 1)


def _check_examples(
    parts: Iterable[Iterable[Example]], tokenizer: ExampleTokenizer, targets: TargetCheck
) -> list[str]:
    """Tokenize all training examples, a part at a time. Returns notes for the user.

    The answers are added to `targets`. Raises ConfigError if a question loses a blank.
    """
    check = SourceCheck(tokenizer, "training questions")
    for part in parts:
        examples = [*part]
        targets.add([e.target for e in examples if not e.is_text])
        check.add([source for e in examples if not e.is_text for source in e.sources])
        tokenizer.count_examples(examples)
    check.raise_if_lost()
    return check.notes()


def _count_wordings(parts: Iterable[Sequence[Example]], wordings: int) -> list[str]:
    """A note about the questions with fewer than the configured wordings; none if all have them."""
    if wordings == 1:
        return []
    counts = Counter(len(e.sources) for part in parts for e in part if not e.is_text)
    fewer = sorted(number for number in counts if number < wordings)
    if not fewer:
        return []
    listed = ", ".join(f"{counts[n]:,} with {n}" for n in fewer)
    return [
        f"{sum(counts[n] for n in fewer):,} of {counts.total():,} training questions have fewer "
        f"than wordings = {wordings} wordings for training ({listed}); they are taught in those "
        "that they have."
    ]


def startup_notes(
    config: Config,
    accelerator: Accelerator,
    precision: Precision,
    limit: StreamLimit | None = None,
) -> list[str]:
    """Messages before the start: start weights, a limited stream, slow bf16, `ngpu` against
    processes, and restarts that may hang."""
    notes, world, trial = [], accelerator.num_processes, precision.trial
    if config.continue_from:
        notes.append(
            f"New run from the weights of {config.continue_from}; row 0 evaluates these weights."
        )
    if limit and limit.describe():
        notes.append(f"Training takes {limit.describe()}.")
    if config.mixed_precision == "bf16" and trial and trial.bf16_gflops < trial.fp32_gflops:
        notes.append(
            f"bf16 is slower than fp32 on this device ({trial.describe()}). "
            "For the faster of both: --set mixed_precision=auto"
        )
    if config.ngpu != world:
        examples = config.train_batch_size * config.gradient_accumulation_steps * config.ngpu
        notes.append(
            f"ngpu = {config.ngpu}, and {world} process{'es' * (world > 1)} started: an optimizer "
            f"step has {examples} examples in either case. For {config.ngpu} "
            f"process{'es' * (config.ngpu > 1)}: {_launch_command(config.ngpu)}"
        )
    if config.sharding != "none" and world == 1:
        stated = "use_deepspeed = true: " if config.use_deepspeed else ""
        notes.append(f"{stated}sharding = '{config.sharding}' has no effect with one process.")
    if _restarts_share_store():
        notes.append(
            "After a restart by torch's launcher, processes may wait for killed ones. Start the "
            "launcher with TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1."
        )
    return notes


def _restarts_share_store() -> bool:
    """Whether torch's launcher restarts processes, and keeps their addresses for the next ones.

    torch 2.13 has one key of each rank for all attempts (`rendezvous._create_c10d_store`): a new
    process that reads it before the other has written it connects to a killed one.
    """
    restarts = os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0")
    return restarts != "0" and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


def _launch_command(processes: int) -> str:
    """How to start so many processes on this machine."""
    if processes == 1:
        return "fki train ..."
    if torch.accelerator.is_available():
        return f"accelerate launch --num_processes {processes} -m fki train ..."
    launcher = "python -m torch.distributed.run --standalone"  # Accelerate's starts one on a CPU
    return f"{launcher} --nproc_per_node={processes} -m fki train ..."
