"""From a config to ready parts: data, model, method, trainer, evaluator."""

import gc
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import nn

from fki.config.schema import Config
from fki.core.errors import ConfigError
from fki.core.paths import data_home, expand_path
from fki.core.probe_sets import BASE
from fki.core.types import Example, Period, Stream
from fki.data.collator import ExampleTokenizer
from fki.data.lazy_sequence import LazySequence
from fki.data.open_dataset import open_stream
from fki.data.prompts import target_text, training_examples
from fki.data.replay_corpus import read_corpus
from fki.evaluation.evaluator import Evaluator
from fki.evaluation.schedule import Phase, ProbeSchedule, make_phases
from fki.methods.base import Method, make_method
from fki.modeling import load
from fki.modeling.device import has_native_bf16, make_accelerator
from fki.modeling.encoder_cache import EncoderCache
from fki.modeling.load import BaseModel, make_example_tokenizer
from fki.modeling.modeling_fki import FkiT5ForConditionalGeneration
from fki.runs import checkpoint
from fki.training.trainer import Trainer


@dataclass(frozen=True)
class Session:
    """Everything a run needs, checked and in memory."""

    config: Config
    stream: Stream
    base: BaseModel
    model: nn.Module  # prepared by the method
    method: Method
    encoder: ExampleTokenizer
    trainer: Trainer
    evaluator: Evaluator
    accelerator: Accelerator
    phases: list[Phase]
    questions: ProbeSchedule
    base_digest: str
    added: int  # parameters that the method adds

    @property
    def periods(self) -> list[Period]:
        """What is trained on, in order."""
        if self.config.check_validation:
            return []
        return [period for phase in self.phases for period in phase.periods]

    @property
    def steps(self) -> dict[str, int]:
        """Optimizer steps of each period; a method that mixes in more may take more."""
        return {period.name: self.trainer.courses.expected(period) for period in self.periods}

    @property
    def is_main(self) -> bool:
        """Is this the one process that writes and shows?"""
        return bool(self.accelerator.is_main_process)


def build_session(config: Config) -> Session:
    """Read the data, load and prepare the model. Raises FkiError before anything is trained."""
    stream = open_stream(config.dataset, config.dataset_version, config.prompt_format)
    base = load.load_base_model(config.model)
    _check_trains(base, config)
    accelerator = make_accelerator(config)
    plan = make_phases(stream, config)
    questions = ProbeSchedule(stream, plan, config)
    method = make_method(config)
    review = _load_review(stream, method)
    with accelerator.main_process_first():  # which tokenises; the others read
        encoder = make_example_tokenizer(base.tokenizer, config, accelerator)
        taught = [period.examples for phase in plan for period in phase.periods]
        _check_answers_fit([*taught, review] if method.corpus else taught, encoder)
        _check_probes_fit(questions, encoder, config)
        encoder.token_cache.flush()
    digest = load.weights_digest(base.model)
    before, _ = load.count_parameters(base.model)
    torch.manual_seed(config.seed)  # for parameters that the method adds
    model = method.prepare(base.model)
    after, _ = load.count_parameters(model)
    stated = {"checkpoint_path": config.checkpoint_path, "continue_from": config.continue_from}
    for setting, path in stated.items():
        if path:
            checkpoint.load(checkpoint.find(expand_path(path), setting), model)
    states = make_encoder_cache(model, method, encoder, config)
    to_learn = states if trains_from_cache(config) else None
    trainer = Trainer(model, method, config, encoder, accelerator, review, to_learn)
    to_ask = states if config.encoder_cache != "bf16" else None
    evaluator = Evaluator(encoder, config, accelerator, to_ask)
    return Session(
        config,
        stream,
        base,
        model,
        method,
        encoder,
        trainer,
        evaluator,
        accelerator,
        plan,
        questions,
        digest,
        after - before,
    )


def _check_trains(base: BaseModel, config: Config) -> None:
    """Raises ConfigError for a model whose encoder has a branch: methods want a plain one."""
    if isinstance(base.model, FkiT5ForConditionalGeneration):
        raise ConfigError(
            f"'{config.model}' is an exported model with a branch beside its encoder, which fki "
            "asks and scores, but does not train further.",
            hint="Go on from the run that it was exported from: --continue-from RUN",
        )


def free_memory() -> None:
    """Free the memory of sessions that nobody holds any more: their parts refer to one another."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _load_review(stream: Stream, method: Method) -> Sequence[Example]:
    """Old text for methods that review: their corpus, else what was known before the stream, which
    is read when it is gone through."""
    prompt = method.config.prompt_format

    def read() -> Iterator[Example]:
        return (e for f in stream.base for e in training_examples(f, prompt, period=BASE))

    return (
        read_corpus(expand_path(method.corpus), prompt)
        if method.corpus
        else LazySequence(None, read)
    )


def make_encoder_cache(
    model: nn.Module, method: Method, encoder: ExampleTokenizer, config: Config
) -> EncoderCache | None:
    """What keeps the states of the frozen encoder; None where none is frozen or kept."""
    frozen = method.frozen_encoder(model)
    if frozen is None or config.encoder_cache == "off":
        return None
    return EncoderCache(
        frozen,
        encoder,
        dtype="bf16" if config.encoder_cache == "bf16" else "fp32",
        max_bytes=config.encoder_cache_mib * 2**20,
        folder=data_home() / "states",
    )


def trains_from_cache(config: Config) -> bool:
    """Do epochs read the states of a frozen encoder? For a single epoch keeping them is no use."""
    is_wanted = config.encoder_cache in ("fp32", "bf16")
    return is_wanted or (config.encoder_cache == "auto" and config.num_train_epochs > 1)


def _check_answers_fit(taught: Iterable[Iterable[Example]], encoder: ExampleTokenizer) -> None:
    """Tokenise all that is learned, a part at a time. Raises ConfigError for a cut answer."""
    for part in taught:
        examples = [*part]
        encoder.check_fit([e.target for e in examples if not e.is_text])
        encoder.token_cache.get_lengths([e.source for e in examples if not e.is_text])
        encoder.count_examples(examples)


def _check_probes_fit(questions: ProbeSchedule, encoder: ExampleTokenizer, config: Config) -> None:
    """Tokenise all that is asked, a cell at a time. Raises ConfigError for a cut answer."""
    for cell in questions.cells:
        answers = [answer for probe in cell.probes for answer in probe.answers]
        encoder.check_fit([target_text(answer, config.prompt_format) for answer in answers])
        encoder.token_cache.get_lengths([probe.source for probe in cell.probes])


def startup_notes(config: Config, accelerator: Accelerator) -> list[str]:
    """What to say before the start: whose weights it starts from, and where `ngpu` is not the
    number of processes that were started."""
    found, world = [], accelerator.num_processes
    if config.continue_from:
        found.append(f"a new run from the weights of {config.continue_from}; row 0 is theirs.")
    if config.mixed_precision == "bf16" and not has_native_bf16():
        found.append(
            "mixed_precision = bf16, but this device only imitates it, which is slower than fp32: "
            "auto uses bf16 where it is quicker."
        )
    if config.ngpu != world:
        examples = config.train_batch_size * config.gradient_accumulation_steps * world
        found.append(
            f"ngpu = {config.ngpu}, but {world} process{'es' * (world > 1)} started: an optimizer "
            f"step has {examples} examples. For {config.ngpu}: "
            f"accelerate launch --num_processes {config.ngpu} -m fki train ..."
        )
    return found
