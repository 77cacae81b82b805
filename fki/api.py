"""The public Python API: each function does what the command of its name does.

Nothing is printed. Remarks on settings and progress of a run go to `logging.getLogger("fki")` at
the level INFO; problems are raised as subclasses of `fki.FkiError`, with the next step as `.hint`.
"""

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fki.config.model_family import general_preset
from fki.core.types import PromptFormat, RowScored, Score, Step, Stream, Version
from fki.results import Answers, ComparisonResult, EvalResult, ExportResult, TrainResult

if TYPE_CHECKING:
    from fki.config.resolve import Layer, ResolvedConfig
    from fki.training.runner import Runner

Target = str | os.PathLike[str]
OnEvent = Callable[[Step | RowScored], None]
Format = Literal["hf", "peft", "onnx", "ctranslate2", "ctranslate2_int8", "gguf"]
DEFAULT_METHOD = "recadam"
DEFAULT_PRESET = f"t5_{DEFAULT_METHOD}"
logger = logging.getLogger("fki")


def train(
    preset: Target | Sequence[Target] = DEFAULT_PRESET,
    *,
    dataset: Target | None = None,
    model: Target | None = None,
    method: str | None = None,
    version: Version | None = None,
    seed: int | None = None,
    output_dir: Target | None = None,
    resume: bool = False,
    track: Sequence[str] = (),
    on_event: OnEvent | None = None,
    **settings: Any,
) -> TrainResult:
    """Fine-tune a model on a stream of periods and evaluate it after each, as `fki train` does.

    Settings have the order of the command, low to high: built-in defaults, presets from left to
    right, `FKI_*` environment variables, arguments of this function.

    In the main thread, Ctrl-C (or the interrupt button of a notebook) and SIGTERM stop the run
    after its current step, save it and raise `Interrupted`. The same call with `resume=True` then
    finishes the run, with the same result as if it had not been stopped. A second Ctrl-C stops
    at once, and the run resumes from its last checkpoint.

    Args:
        preset: A preset's name, a .toml file or a .json config of the original research code;
            of several, each is laid over the one before. With `method` alone: "t5_<method>". With
            a decoder as `model`: "causal_..." instead of "t5_...".
        dataset: A known dataset's name, or a folder.
        model: "t5-mini", "llama-mini", a model folder, a name on the Hugging Face Hub, or
            "gguf:FILE".
        method: A training method, such as "vanilla", "lora" or "recadam".
        version: Length of a period.
        seed: Random seed.
        output_dir: Run directory, new or empty. None: a new one under runs/.
        resume: Continue the run of these settings. If there is none, begin it; if it is done,
            return its result.
        track: Trackers that also receive the log: "tensorboard", "wandb", "trackio", "mlflow".
        on_event: Receives each `Step` (an optimizer step) and each `RowScored` (an evaluation). If
            it raises an exception, the run stops as interrupted and can be resumed.
        **settings: Any other setting by name. A method's own options are a dict under the name of
            their table: `recadam={"gamma": 1000.0}`.

    Returns:
        The run directory, the scores of each evaluation, and their summary.

    Raises:
        ConfigError: Settings are unknown, of a wrong type or contradictory; all are listed.
        NotDownloaded: The dataset or model is not on this machine.
        RunLocked: Another process uses the run directory, or the run is done and `resume` is false.
        Interrupted: The run was stopped by a signal; it is saved.
        FkiError: Any other problem of the user's, such as a full disk.

    Examples:
        >>> import fki
        >>> result = fki.train("t5_recadam", dataset="wiki", version="quarter", seed=1)
        >>> result.summary["probe_sets"]["updated"]["em"]["after"]
    """
    from fki.config.presets import without_method
    from fki.core.errors import RunDone
    from fki.training.follow import follow_run
    from fki.training.runner import Runner
    from fki.training.session import build_session, free_memory, startup_notes
    from fki.training.teach_base import teach_base
    from fki.training.tracking import check_trackers

    flags = _given(
        dataset=dataset,
        model=model,
        method=method,
        dataset_version=version,
        seed=seed,
        output_dir=output_dir,
    )
    presets = _as_names(preset)
    if presets == [DEFAULT_PRESET]:
        family = general_preset(None if model is None else os.fspath(model))
        presets = [family if method is not None else f"{family}_{DEFAULT_METHOD}"]
    check_trackers(track)
    resolved = _resolve(_layers("fki.train(...)", presets, settings | flags))
    if resolved.config.teach_base:
        stated = settings | flags | {"method": "vanilla", "seed": 0}
        plain = _resolve(_layers("fki.train(...)", without_method(presets), stated))
        taught = teach_base(plain.config, lambda _: on_event or _ignore)
        logger.info(taught.describe())
        settings |= {"model": os.fspath(taught.folder), "teach_base": False}
        flags.pop("model", None)
        resolved = _resolve(_layers("fki.train(...)", presets, settings | flags))
    session = build_session(resolved.config, allow_resume=resume)
    try:
        runner = Runner.start(session, resolved, allow_resume=resume)
    except RunDone as done:
        if not resume:
            raise
        return _complete_result(Path(done.folder), resolved)
    notes = [
        *resolved.notes,
        *startup_notes(
            resolved.config, session.accelerator, session.precision, session.stream_limit
        ),
        *session.input_notes,
        *runner.notes,
    ]
    _log_notes(notes)
    follow_run(runner, track, on_event or _ignore, logger.info)
    notes += _write_report(runner)
    result = _train_result(runner, resolved, notes)
    del session, runner
    free_memory()
    return result


def _ignore(event: Step | RowScored) -> None:
    """Does nothing with an event."""


def _write_report(runner: "Runner") -> list[str]:
    """Write report.html as the command does. Returns why it was not written, if so."""
    from fki.core.errors import FkiError
    from fki.report.html_page import write_run_page

    if not runner.session.is_main:
        return []
    try:
        write_run_page(runner.run.folder)
    except FkiError as error:
        logger.info(note := f"report.html was not written: {error}")
        return [note]
    return []


def _train_result(
    runner: "Runner", resolved: "ResolvedConfig", notes: Sequence[str]
) -> TrainResult:
    from dataclasses import asdict

    from fki.config.schema import to_dict

    return TrainResult(
        run_dir=runner.run.folder,
        settings=to_dict(resolved.config),
        origins=resolved.origins,
        scores={after: tuple(scores) for after, scores in runner.rows},
        summary=runner.scores()["summary"],
        spent=asdict(runner.totals),
        notes=tuple(notes),
    )


def _complete_result(folder: Path, resolved: "ResolvedConfig") -> TrainResult:
    """The result of a run that is done already."""
    from fki.config.schema import to_dict
    from fki.runs.run_dir import SCORES, Run

    run = Run(folder)
    scores = run.read(SCORES)
    return TrainResult(
        run_dir=folder,
        settings=to_dict(resolved.config),
        origins=resolved.origins,
        scores={
            row["after"]: tuple(Score(**score) for score in row["scores"]) for row in scores["rows"]
        },
        summary=scores["summary"],
        spent=run.info["spent"],
        notes=(f"The run in {folder} is already complete.",),
    )


def evaluate(
    target: Target,
    *,
    checkpoint: str | None = None,
    dataset: Target | None = None,
    version: Version | None = None,
    output: Target | None = None,
    **settings: Any,
) -> EvalResult:
    """Evaluate a run, one of its checkpoints or any model on a dataset, as `fki eval` does.

    Args:
        target: A run directory, a checkpoint's folder, a model folder, or a model's name. A run is
            evaluated with its own settings.
        checkpoint: A checkpoint of the run: a period such as "2024-Q2", or "best". None: the
            newest.
        dataset: A known dataset's name, or a folder. None: the run's own, or "wiki".
        version: Length of a period.
        output: New folder for scores.json and for each prediction. None: nothing is written.
        **settings: Any other setting by name, such as `eval_batch_size=64`.

    Returns:
        Mean scores of each probe set in each period, and their summary.

    Raises:
        ConfigError: Settings cannot be used, or would make another model of a run.
        DataError: The target, the dataset or a checkpoint was not found or cannot be read.

    Examples:
        >>> import fki
        >>> fki.evaluate("runs/recadam", version="month").summary["probe_sets"]["new"]["em"]
    """
    from fki.evaluation import evaluate as evaluation

    flags = _given(dataset=dataset, dataset_version=version)
    folder = None if output is None else Path(output)
    found = evaluation.evaluate(
        os.fspath(target),
        checkpoint or "",
        _layers("", [general_preset(os.fspath(target))], {}),
        _layers("fki.evaluate(...)", [], settings | flags),
        folder,
    )
    _log_notes(found.notes)
    return EvalResult(
        found.name,
        found.checkpoint,
        found.dataset,
        found.version,
        tuple(found.scores),
        found.summary,
        folder,
    )


def compare(
    folders: Target | Sequence[Target] = "runs",
    *,
    baseline: str | None = None,
    by: str | None = None,
    metrics: Sequence[str] | None = None,
    force: bool = False,
) -> ComparisonResult:
    """Compare finished runs: what they learned, retained, forgot and cost, as `fki compare` does.

    Runs that differ only in the seed are one arm. Arms are compared with a baseline, probe by
    probe, if data, probes, base model and protocol match.

    Args:
        folders: Run directories, or folders that contain some.
        baseline: Name of the arm that others are compared with. None: vanilla, else the first.
        by: The setting that makes an arm: "method", "preset", "version", "seed" or another. None:
            all settings but the seed.
        metrics: Keys of the metrics, such as "updated.learned". None: the usual ones.
        force: Compare runs even if their data or protocol differ; adds a warning.

    Returns:
        Arms, metrics with 95 % intervals, and differences to the baseline with p-values.

    Raises:
        DataError: No finished runs were found.
        ConfigError: `baseline`, `by` or a metric is unknown.

    Examples:
        >>> import fki
        >>> result = fki.compare("runs", baseline="vanilla")
        >>> result.estimate("recadam", "updated").value
    """
    from fki.comparison.compare import compare as compare_runs

    return ComparisonResult(
        compare_runs(
            [Path(name) for name in _as_names(folders)],
            by=by or "",
            baseline=baseline or "",
            metrics=metrics or (),
            force=force,
        )
    )


def export(
    runs: Target | Sequence[Target],
    output: Target,
    *,
    to: Format = "hf",
    checkpoint: str | None = None,
    average: str | Sequence[str] | None = None,
    dtype: Literal["float32", "bfloat16", "float16"] | None = None,
    max_shard_size: str | None = None,
    probes: int = 500,
    push: str | None = None,
    public: bool = False,
) -> ExportResult:
    """Export a run as a folder that another library loads, as `fki export` does.

    The folder is loaded by its own runtime and must predict the same answers as the run.

    Args:
        runs: A run directory; several only with `average`.
        output: New or empty folder.
        to: The format.
        checkpoint: A checkpoint of the run: a period such as "2024-Q2", or "best". None: the
            newest.
        average: Checkpoints to average, of each run: periods, "best" or "newest".
        dtype: Data type of the weights. None: float32.
        max_shard_size: Largest size of a weight file, such as "2GB".
        probes: Number of probes of each set that the check evaluates again; 0: all.
        push: Repository on the Hugging Face Hub, "OWNER/NAME", for a private upload.
        public: With `push`: the repository is public.

    Returns:
        The folder, and the agreement of its predictions with the run's.

    Raises:
        CheckFailed: The exported folder predicts other answers than the run.
        CannotFold: The method's model has no equivalent in the format.
        FkiError: `output` holds files, or options contradict each other.

    Examples:
        >>> import fki
        >>> fki.export("runs/recadam", "out", to="hf").parity.same_answers
    """
    from fki.exporting.request import ExportRequest

    request = ExportRequest(
        [Path(name) for name in _as_names(runs)],
        Path(output),
        to,
        checkpoint or "",
        [average] if isinstance(average, str) else average or (),
        dtype,
        max_shard_size,
        probes,
        push or "",
        public,
    )
    request.check()
    from fki.exporting import hub_upload
    from fki.exporting.export_runs import export_runs

    exported = export_runs(request)
    address = hub_upload.push_folder(request.output, push, is_public=public) if push else ""
    return ExportResult(
        request.output,
        exported.format.name,
        exported.loaded.name,
        exported.loaded.checkpoint,
        exported.loaded.averaged,
        exported.parity,
        exported.soup.losses() if exported.soup else {},
        address,
    )


def ask(
    target: Target,
    questions: str | Iterable[str],
    *,
    checkpoint: str | None = None,
    runners_up: int = 4,
) -> Answers:
    """Predict the answers to own questions, as `fki ask` does.

    Args:
        target: A run directory, a checkpoint's folder, an exported folder, or a model's name.
        questions: One or more, with `___` in place of the answer. For a run with
            `prompt_format="prefix"`: the text before the answer.
        checkpoint: A checkpoint of the run: a period such as "2024-Q2", or "best". None: the
            newest.
        runners_up: Number of further answers, which beam search finds; at most 50.

    Returns:
        A list with an item for each question: `answer` and `runners_up`, each with its `text` and
        its `log_likelihood` in nats.

    Raises:
        ConfigError: A question has no blank or several, or `runners_up` is above 50.
        DataError: The target or the checkpoint was not found or cannot be read.

    Examples:
        >>> import fki
        >>> [found] = fki.ask("t5-mini", "The capital of France is ___.")
        >>> found.answer.text
        'Paris'
    """
    from fki.inference import open_predictor

    config = _resolve(_layers("", [general_preset(os.fspath(target))], {})).config
    predictor = open_predictor(os.fspath(target), checkpoint or "", config)
    requested = [questions] if isinstance(questions, str) else [*questions]
    _log_notes(predictor.check(requested))
    return Answers(predictor.predict(requested, runners_up))


def load_dataset(
    name_or_folder: Target,
    version: Version = "quarter",
    *,
    prompt_format: PromptFormat = "sentinel",
) -> Stream:
    """Load a dataset as a stream of periods with its probe sets. Downloads nothing.

    Periods, facts and probes are read from disk when they are iterated.

    Args:
        name_or_folder: A known dataset's name, such as "wiki", or a folder.
        version: Length of a period.
        prompt_format: Form of the inputs, as the setting. It decides which wordings are the same
            question.

    Returns:
        The stream: `periods` in order, each with `facts` and `examples`; `probe_sets`; and `base`,
        the facts that were known before.

    Raises:
        NotDownloaded: A known dataset is not on this machine.
        DataError: The dataset was not found, or a file is malformed or was altered.

    Examples:
        >>> import fki
        >>> stream = fki.load_dataset("wiki", "month")
        >>> [period.name for period in stream.periods][:2]
    """
    from fki.data.open_dataset import open_stream

    values = {
        "dataset": name_or_folder,
        "dataset_version": version,
        "prompt_format": prompt_format,
    }
    config = _resolve(_layers("fki.load_dataset(...)", ["t5"], values)).config
    return open_stream(config.dataset, config.dataset_version, config.prompt_format)


def _given(**values: Any) -> dict[str, Any]:
    """The arguments that are not None."""
    return {name: value for name, value in values.items() if value is not None}


def _as_names(values: Target | Sequence[Target]) -> list[str]:
    """One path or several, as text."""
    several = [values] if isinstance(values, str | os.PathLike) else values
    return [os.fspath(value) for value in several]


def _layers(origin: str, presets: Sequence[str], values: Mapping[str, Any]) -> "list[Layer]":
    """Presets and environment, with the values above them."""
    from fki.config.presets import read_layers

    return read_layers(presets, os.environ, (), _plain(values), origin=origin)


def _plain(value: Any) -> Any:
    """A value as TOML has it: paths are text, tuples are lists."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _resolve(layers: "Sequence[Layer]") -> "ResolvedConfig":
    from fki.config.resolve import resolve
    from fki.core import registry

    return resolve(layers, options_of=registry.options_of)


def _log_notes(notes: Iterable[str]) -> None:
    for note in notes:
        logger.info(note)
