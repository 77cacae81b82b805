"""An export that contradicts itself is refused before anything is loaded."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fki.core.errors import ConfigError
from fki.exporting.request import ExportRequest

RUN, OUT = Path("run"), Path("out")


@pytest.mark.parametrize(
    ("runs", "options", "named"),
    [
        ([RUN], {"average": ["best"], "to": "peft"}, "LoRA"),
        ([RUN], {"average": ["best"], "checkpoint": "2024"}, "average"),
        ([RUN, RUN], {}, "2 runs"),
        ([RUN], {"public": True}, "public"),
    ],
)
def test_options_that_contradict_are_refused(
    runs: list[Path], options: dict[str, Any], named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        ExportRequest(runs, OUT, **options).check()


def test_one_run_or_an_average_of_several_is_fine() -> None:
    ExportRequest([RUN], OUT, checkpoint="best").check()
    ExportRequest([RUN, RUN], OUT, average=["newest"]).check()


def test_a_request_is_checked_without_torch() -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from fki.exporting.request import ExportRequest\n"
        "ExportRequest([Path('run')], Path('out')).check()\n"
        "assert not {'torch', 'transformers'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
