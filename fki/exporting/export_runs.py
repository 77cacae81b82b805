"""From a request to a checked folder: a checkpoint of one run, or an average of several."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from fki import __version__
from fki.core.atomic_io import file_digest
from fki.exporting.export import EXPORT_INFO, check_output_dir, export
from fki.exporting.formats.base import Format
from fki.exporting.formats.registry import load_format
from fki.exporting.model_card import write_card
from fki.exporting.model_soup import ModelSoup, average_checkpoints
from fki.exporting.parity import Parity
from fki.exporting.request import ExportRequest
from fki.runs.checkpoint import MANIFEST
from fki.runs.open_run import LoadedModel, open_run, select_checkpoint
from fki.runs.run_dir import Run


@dataclass(frozen=True, slots=True)
class Exported:
    """A written folder that has passed its parity check."""

    loaded: LoadedModel
    format: Format
    parity: Parity
    soup: ModelSoup | None  # where checkpoints were averaged


def find_equal_export(request: ExportRequest) -> dict[str, Any] | None:
    """The description of an export of the same request that `output` contains already, verified.

    None: the folder is new, or contains another export, or one of its files has changed.
    """
    try:
        info = json.loads((request.output / EXPORT_INFO).read_text(encoding="utf-8"))
        files = {name: file_digest(request.output / name) for name in info["files"]}
        is_equal = info["files"] == files and info["request"] == _request_digest(request)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return info if is_equal and isinstance(info.get("check"), dict) else None


def _request_digest(request: ExportRequest) -> str:
    """SHA-256 of everything that the exported folder depends on."""
    runs = [Run.open(run) for run in request.runs]
    sources = [
        (run.info.get("model"), run.info.get("config"), file_digest(folder / MANIFEST))
        for run in runs
        for folder in (select_checkpoint(run, n) for n in request.average or [request.checkpoint])
    ]
    options = (request.to, request.dtype, request.max_shard_size, request.probes, request.push)
    content = [__version__, [*request.average], options, sources]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def export_runs(
    request: ExportRequest, on_average: Callable[[ModelSoup], None] = lambda soup: None
) -> Exported:
    """Load the requested model, write it in its format and check it. Uploads nothing.

    Args:
        request: a request that `ExportRequest.check` has passed.
        on_average: receives the average with its scores, before it is written.
    Raises:
        ConfigError, CannotFold: the request cannot be met.
        CheckFailed: the exported folder does not answer like the run.
    """
    check_output_dir(request.output)
    export_format = load_format(
        request.to, dtype=request.dtype, max_shard_size=request.max_shard_size
    )
    soup: ModelSoup | None = None
    if request.average:
        runs = [Run.open(run) for run in request.runs]
        soup = average_checkpoints(runs, request.average, request.probes)
        on_average(soup)
    loaded = (
        soup.loaded
        if soup
        else open_run(Run.open(request.runs[0]), request.checkpoint, is_plain=True)
    )
    export_format = export_format.for_tokenizer(loaded.example_tokenizer())
    parity = export(
        loaded,
        export_format,
        request.output,
        partial(write_card, name=request.push or request.output.name, soup=soup),
        max_probes=request.probes,
        recorded_probes=soup.recorded_probes if soup else None,
        request=_request_digest(request),
    )
    return Exported(loaded, export_format, parity, soup)
