"""One export from runs to a checked folder: a checkpoint of a run, or an average of several."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from fki.export.export import check_output_dir, export, format_of
from fki.export.formats.base import Format
from fki.export.model_card import write_card
from fki.export.model_soup import ModelSoup, average_checkpoints
from fki.export.parity import Parity
from fki.export.request import ExportRequest
from fki.runs.open_run import LoadedModel, open_run
from fki.runs.run_dir import Run


@dataclass(frozen=True, slots=True)
class Exported:
    """A folder that was written and has passed its check."""

    opened: LoadedModel
    form: Format
    parity: Parity
    soup: ModelSoup | None  # where checkpoints were averaged


def export_runs(
    request: ExportRequest, on_average: Callable[[ModelSoup], None] = lambda soup: None
) -> Exported:
    """Load what is requested, write it in its format and check it. Uploads nothing.

    Args:
        request: one that has been checked.
        on_average: receives the average with its scores, before it is written.
    Raises:
        ConfigError, CannotFold: the request cannot be met.
        CheckFailed: the exported folder predicts other answers than the run.
    """
    check_output_dir(request.output)
    form = format_of(request.to, dtype=request.dtype, max_shard_size=request.max_shard_size)
    soup: ModelSoup | None = None
    if request.average:
        runs = [Run.open(run) for run in request.runs]
        soup = average_checkpoints(runs, request.average, request.probes)
        on_average(soup)
        opened = soup.opened
    else:
        opened = open_run(Run.open(request.runs[0]), request.checkpoint)
    describe = partial(write_card, place=request.push or request.output.name, soup=soup)
    quiz = soup.quiz if soup else None
    parity = export(opened, form, request.output, describe, most=request.probes, quiz=quiz)
    return Exported(opened, form, parity, soup)
