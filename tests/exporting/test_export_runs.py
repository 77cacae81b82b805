"""One call exports a checkpoint of a run, or an average that is shown before it is written."""

from pathlib import Path
from typing import Any

import pytest

from fki.core.errors import FkiError
from fki.exporting.export_runs import export_runs
from fki.exporting.model_soup import ModelSoup
from fki.exporting.request import ExportRequest


def test_a_run_is_written_and_checked(run_of: Any, tmp_path: Path) -> None:
    done = export_runs(ExportRequest([run_of("vanilla").folder], tmp_path / "out"))
    assert done.parity.holds and done.soup is None and done.format.name == "hf"
    assert (tmp_path / "out" / "README.md").is_file()


def test_an_average_is_received_before_it_is_written(run_of: Any, tmp_path: Path) -> None:
    seen: list[tuple[ModelSoup, bool]] = []
    runs = [run_of("vanilla").folder, run_of("vanilla", seed=1).folder]
    request = ExportRequest(runs, tmp_path / "out", average=["newest"])
    done = export_runs(request, lambda soup: seen.append((soup, request.output.exists())))
    assert seen == [(done.soup, False)] and request.output.is_dir()
    assert len(done.loaded.averaged) == 2


def test_an_output_that_holds_files_is_refused_before_a_run_is_read(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(FkiError, match="output"):
        export_runs(ExportRequest([tmp_path / "absent"], tmp_path))
