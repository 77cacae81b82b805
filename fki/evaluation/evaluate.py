"""Score a run, a checkpoint or a plain model on a dataset, outside of training."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fki.config.resolve import Layer, ResolvedConfig, resolve
from fki.config.schema import Config, to_dict
from fki.core import registry
from fki.core.atomic_io import append_lines, write_json
from fki.core.errors import ConfigError, FkiError
from fki.core.types import Score
from fki.data.open_dataset import open_stream
from fki.evaluation.evaluator import Evaluator, mean_score
from fki.evaluation.schedule import ProbeSchedule, group_cells, make_phases
from fki.evaluation.summary import summarize_scores
from fki.modeling.device import make_accelerator
from fki.modeling.load import make_example_tokenizer
from fki.runs.open_run import LoadedModel, find_run, open_model, open_run, read_config
from fki.runs.run_dir import SAMPLES, SCORES


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """What was asked of which model, and how it answered."""

    name: str
    checkpoint: str
    dataset: str
    version: str
    scores: list[Score]
    summary: dict[str, Any]


def evaluate(
    target: str,
    checkpoint: str,
    below: Sequence[Layer],
    above: Sequence[Layer],
    output: Path | None,
) -> EvaluationResult:
    """Ask a run (under its own settings) or a plain model every probe of a dataset.

    Args:
        below: settings for a plain model; a run brings its own.
        above: settings that the user states now, laid over either.
        output: a new or empty folder for scores.json and samples.jsonl.
    Raises:
        FkiError: `output` holds files or cannot be made, or the target, data or settings cannot be
            used.
    """
    run, checkpoint = find_run(target, checkpoint)
    layers = [Layer(to_dict(read_config(run)), {})] if run else below
    resolved = resolve([*layers, *above], options_of=registry.options_of)
    config = resolved.config
    if run:
        _check_same_model(resolved, read_config(run))
    if output is not None:
        _make_output_folder(output)
    opened = open_run(run, checkpoint) if run else open_model(target, config)
    scores, columns = score_all_probes(opened, config, output)
    result = EvaluationResult(
        opened.label,
        opened.checkpoint,
        config.dataset,
        config.dataset_version,
        scores,
        summarize_scores([("now", scores)], columns),
    )
    if output is not None:
        write_json(output / SCORES, asdict(result))
    return result


def _check_same_model(resolved: ResolvedConfig, own: Config) -> None:
    """Raises ConfigError where `--set` asks for another model than the run's."""
    for key in ("model", "method", "freeze_level"):
        wanted, has = getattr(resolved.config, key), getattr(own, key)
        if resolved.origins[key] == "--set" and wanted != has:
            raise ConfigError(
                f"{key} is the run's own, {has!r}; --set {key}={wanted} cannot change it.",
                hint="A run may be asked with other data and questions, not as another model.",
            )


def _make_output_folder(output: Path) -> None:
    """Make the folder. Raises FkiError where it cannot be made or holds files."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        is_empty = not any(output.iterdir())
    except OSError as error:
        raise FkiError(f"--output {output} cannot be made: {error.strerror}.") from None
    if not is_empty:
        raise FkiError(f"--output must be a new or empty folder, and {output} holds files.")


def score_all_probes(
    opened: LoadedModel, config: Config, output: Path | None
) -> tuple[list[Score], list[str]]:
    """Scores of all probe sets, and the names of the phases. Single answers go to `output`, some
    cells at a time."""
    stream = open_stream(config.dataset, config.dataset_version, config.prompt_format)
    plan = make_phases(stream, config)
    accelerator = make_accelerator(config)
    evaluator = Evaluator(
        make_example_tokenizer(opened.base.tokenizer, config, accelerator), config, accelerator
    )
    opened.model.to(accelerator.device)
    scores = []
    for cells in group_cells(ProbeSchedule(stream, plan, config).row(len(plan))):
        for cell, predictions in zip(cells, evaluator.ask(opened.model, cells), strict=True):
            scores.append(mean_score(cell.probe_set, cell.column, predictions))
            if output is not None:
                samples = ({"probe_set": cell.probe_set, **asdict(p)} for p in predictions)
                append_lines(output / SAMPLES, samples)
    evaluator.encoder.token_cache.flush()
    return scores, [phase.name for phase in plan]
