"""Evaluate a run, a checkpoint or a plain model on a dataset, outside of training: `fki eval`."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fki.config.resolve import Layer, ResolvedConfig, resolve
from fki.config.schema import Config, evaluation_settings, flatten, settings_affecting, to_dict
from fki.core import registry
from fki.core.atomic_io import (
    append_lines,
    file_digest,
    remove_stale_scratch,
    scratch_path,
    write_json,
)
from fki.core.errors import ConfigError, DataError, FkiError
from fki.core.formatting import format_command
from fki.core.types import Score, Stream
from fki.data.open_dataset import open_stream
from fki.data.stream import describe_missing_dates
from fki.evaluation.conditions import MetConditions
from fki.evaluation.evaluator import (
    Evaluator,
    OnProgress,
    complete_predictions,
    mean_score,
    sample_row,
)
from fki.evaluation.schedule import ProbeSchedule, check_probes, group_cells, make_phases
from fki.evaluation.shots import question_tokenizer
from fki.evaluation.summary import summarize_scores
from fki.evaluation.text_perplexity import TextScore, score_texts
from fki.evaluation.untouched import UntouchedAnswers
from fki.modeling.architecture import check_fits_model
from fki.modeling.device import make_accelerator
from fki.modeling.load import make_example_tokenizer
from fki.modeling.sharding import distribute
from fki.runs.open_run import LoadedModel, find_run, open_model, open_run, read_config
from fki.runs.run_dir import SAMPLES, SCORES, Run


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """The evaluated model, the dataset, and the scores."""

    name: str
    checkpoint: str
    dataset: str
    version: str
    scores: list[Score]
    summary: dict[str, Any]
    notes: list[str]
    """On settings without effect, changed data, and questions and answers that do not fit."""


def evaluate(
    target: str,
    checkpoint: str,
    defaults: Sequence[Layer],
    overrides: Sequence[Layer],
    output: Path | None,
    on_progress: OnProgress | None = None,
) -> EvaluationResult:
    """Evaluate a run (with its own settings) or a plain model on all probes of a dataset.

    Args:
        defaults: settings for a plain model; a run has its own.
        overrides: settings that the user states now; they take precedence over either.
        output: a new or empty folder for scores.json and samples.jsonl. An equal earlier evaluation
            in it stays.
        on_progress: see `Evaluator.on_progress`.
    Raises:
        FkiError: `output` is not empty or cannot be created, or the target, data or settings
            cannot be used. ConfigError: the user states a setting of training that differs from
            the run's.
    """
    run, checkpoint, config, idle = _resolve(target, checkpoint, defaults, overrides)
    if output is not None:
        _check_output_folder(output)
    loaded = open_run(run, checkpoint) if run else open_model(target, config)
    check_fits_model(config, loaded.base.model)
    with _write_into(output) as scratch:
        result = _evaluate(loaded, config, scratch, idle, on_progress)
    return result


def _resolve(
    target: str, checkpoint: str, defaults: Sequence[Layer], overrides: Sequence[Layer]
) -> tuple[Run | None, str, Config, list[str]]:
    """The run of a target, if it is one, its checkpoint, the settings, and notes on idle ones."""
    run, checkpoint = find_run(target, checkpoint)
    layers = [Layer(to_dict(read_config(run)), {})] if run else defaults
    resolved = resolve([*layers, *overrides], options_of=registry.options_of)
    idle = _check_overrides(resolved, overrides, read_config(run) if run else None)
    return run, checkpoint, resolved.config, idle


def evaluate_texts(
    target: str,
    checkpoint: str,
    defaults: Sequence[Layer],
    overrides: Sequence[Layer],
    files: Sequence[Path],
) -> list[TextScore]:
    """Compute the perplexity of the documents of files under a decoder.

    The arguments are those of `evaluate`. Raises what `evaluate` and `score_texts` raise.
    """
    run, checkpoint, config, _ = _resolve(target, checkpoint, defaults, overrides)
    loaded = open_run(run, checkpoint) if run else open_model(target, config)
    check_fits_model(config, loaded.base.model)
    return score_texts(loaded, config, files)


def _evaluate(
    loaded: LoadedModel,
    config: Config,
    output: Path | None,
    idle: list[str],
    on_progress: OnProgress | None,
) -> EvaluationResult:
    """Evaluate all probes, and write the scores and predictions into `output`."""
    scores, columns, notes = score_all_probes(loaded, config, output, on_progress)
    result = EvaluationResult(
        loaded.label,
        loaded.checkpoint,
        config.dataset,
        config.dataset_version,
        scores,
        summarize_scores([("now", scores)], columns),
        [*idle, *notes],
    )
    if output is not None:
        values = asdict(result)
        del values["notes"]
        write_json(output / SCORES, values)
    return result


def _check_overrides(
    resolved: ResolvedConfig, overrides: Sequence[Layer], own: Config | None
) -> list[str]:
    """Check the stated settings that an evaluation does not read. Returns a note for each.

    The environment may state such settings, since it applies to all commands.

    Args:
        own: the config of the run; None for a plain model.
    Raises:
        ConfigError: the run was trained with another value.
    """
    places = {origin for layer in overrides for origin in layer.origins.values()}
    values, trained = flatten(to_dict(resolved.config)), flatten(to_dict(own)) if own else {}
    unread = {
        key: origin
        for key, origin in resolved.origins.items()
        if origin in places and not origin.startswith("FKI_") and key not in evaluation_settings()
    }
    differing = [key for key in unread if key not in trained or values[key] != trained[key]]
    for key in differing:
        if key in trained and key not in settings_affecting("nothing"):
            raise ConfigError(
                f"The run has {key} = {trained[key]!r}; {unread[key]} cannot change it to "
                f"{values[key]!r}.",
                hint="A run can be evaluated on other data and probes, not as another model.",
            )
    return [f"{key} has no effect on this evaluation." for key in differing]


def _check_output_folder(output: Path) -> None:
    """Raises FkiError unless the folder is new or empty, or contains an earlier evaluation."""
    try:
        names = {file.name for file in output.iterdir()} if output.exists() else set()
    except OSError as error:
        raise FkiError(f"--output {output} cannot be read: {error.strerror}.") from None
    if names and names != {SCORES, SAMPLES}:
        raise FkiError(f"--output must be a new or empty folder; {output} is not empty.")


@contextmanager
def _write_into(output: Path | None) -> Iterator[Path | None]:
    """A scratch folder that becomes `output` at the end, whole or not at all.

    An earlier evaluation in `output` must be equal, and stays. Raises FkiError if it differs, or
    if the folder cannot be created.
    """
    if output is None:
        yield None
        return
    remove_stale_scratch(output)
    scratch = scratch_path(output)
    try:
        scratch.mkdir(parents=True)
        yield scratch
        if output.exists() and any(output.iterdir()):
            if any(file_digest(output / n) != file_digest(scratch / n) for n in (SCORES, SAMPLES)):
                raise FkiError(
                    f"{output} contains another evaluation. fki overwrites nothing.",
                    hint=f"Try: {format_command('--output', output.with_name(output.name + '-2'))}",
                )
        else:
            os.replace(scratch, output)
    except OSError as error:
        raise FkiError(f"--output {output} cannot be created: {error.strerror}.") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _data_notes(run: Run | None, stream: Stream) -> list[str]:
    """A note if the dataset of the run has changed since training."""
    trained = run.info.get("dataset", {}) if run else {}
    before = trained.get("digest", stream.digest)
    if trained.get("name") != stream.name or before == stream.digest:
        return []
    return [
        f"Dataset '{stream.name}' changed since training: its digest was {before[:8]} and is "
        f"{stream.digest[:8]}. The probes are those of the changed dataset."
    ]


def _read_untouched(run: Run | None, stream: Stream) -> tuple[UntouchedAnswers, MetConditions]:
    """The run's answers before training, if it has answered the probes of this dataset."""
    untouched, conditions = UntouchedAnswers(), MetConditions()
    if run and run.info.get("dataset", {}).get("digest") == stream.digest:
        with suppress(DataError):
            untouched.read(run)
            conditions.read(run)
    return untouched, conditions


def score_all_probes(
    loaded: LoadedModel,
    config: Config,
    output: Path | None,
    on_progress: OnProgress | None = None,
) -> tuple[list[Score], list[str], list[str]]:
    """Evaluate all probe sets. Returns the scores, the names of the phases, and notes.

    Predictions are written to `output` after each group of cells.
    """
    stream = open_stream(
        config.dataset, config.dataset_version, config.prompt_format, probes=config.probes
    )
    phases = make_phases(stream, config)
    accelerator = make_accelerator()
    tokenizer = make_example_tokenizer(loaded.base.tokenizer, config, accelerator.device)
    due = ProbeSchedule(stream, phases, config).row(len(phases))
    questions = question_tokenizer(loaded.method, tokenizer, stream, due, config.shots)
    evaluator = Evaluator(tokenizer, config, accelerator, tokenize_questions=questions)
    evaluator.on_progress = on_progress
    distribute(loaded.model, accelerator, config.sharding)
    scores, (untouched, conditions) = [], _read_untouched(loaded.run, stream)
    notes = check_probes(due, tokenizer)
    notes += [*describe_missing_dates(stream), *_data_notes(loaded.run, stream)]
    for cells in group_cells(due):
        predicted = evaluator.predict_cells(loaded.model, cells)
        for cell, answers in zip(cells, predicted, strict=True):
            if loaded.run is None:
                conditions.add(cell.probe_set, answers)
            predictions = complete_predictions(cell, answers, untouched, conditions)
            scores.append(mean_score(cell.probe_set, cell.column, predictions, probes=cell.probes))
            if output is not None:
                samples = (sample_row(cell, p) for p in predictions)
                append_lines(output / SAMPLES, samples)
    tokenizer.token_cache.flush()
    return scores, [phase.name for phase in phases], notes
