"""A shell completes presets, methods, settings, datasets, runs and checkpoints."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fki.runs.checkpoint import MANIFEST
from fki.testing.toy_runs import write_run


def complete(*words: str, cwd: Path | None = None) -> list[str]:
    """What bash suggests for the last word."""
    command = ["fki", *words]
    done = subprocess.run(
        [sys.executable, "-m", "fki"],
        cwd=cwd,
        env=os.environ
        | {
            "_FKI_COMPLETE": "complete_bash",
            "COMP_WORDS": " ".join(command),
            "COMP_CWORD": str(len(command) - 1),
            "PYTHONPATH": str(Path(__file__).parents[2]),
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("train", "--preset", "t5_rec"), ["t5_recadam"]),
        (("train", "--method", "kad"), ["kadapter_2", "kadapter_3"]),
        (("train", "--methods", "vanilla,reca"), ["vanilla,recadam"]),
        (("plan", "--set", "lear"), ["learning_rate="]),
        (("train", "--set", "prioritized.r"), ["prioritized.ratio=", "prioritized.refresh="]),
        (("train", "--set", "replay=p"), ["replay=prioritized"]),
        (("train", "--set", "loss_on="), ["loss_on=answer", "loss_on=all"]),
        (("train", "--set", "known_only="), ["known_only=true", "known_only=false"]),
        (("train", "--set", "nonsense=x"), []),
        (("train", "--version", "q"), ["quarter"]),
        (("train", "--model", "llama"), ["llama-mini"]),
        (("download", "templ"), ["templama"]),
    ],
)
def test_options_are_completed(words: tuple[str, ...], expected: list[str]) -> None:
    assert complete(*words) == expected


def test_runs_and_their_checkpoints_are_completed(tmp_path: Path) -> None:
    for name in ("lora-s0", "vanilla-s0"):
        run = write_run(tmp_path / "runs" / name)
        (run / "checkpoints" / "2024-Q1").mkdir(parents=True)
        manifest = json.dumps({"order": 1, "sha256": {}})
        (run / "checkpoints" / "2024-Q1" / MANIFEST).write_text(manifest, encoding="utf-8")
    (tmp_path / "runs" / "sweep").mkdir()
    assert complete("ask", "", cwd=tmp_path) == ["runs/lora-s0", "runs/sweep/", "runs/vanilla-s0"]
    assert complete("eval", "runs/l", cwd=tmp_path) == ["runs/lora-s0"]
    assert complete("ask", str(tmp_path / "runs" / "van")) == [
        str(tmp_path / "runs" / "vanilla-s0")
    ]
    named = complete("eval", "runs/lora-s0", "--checkpoint", "2024", cwd=tmp_path)
    assert named == ["2024-Q1"]
    assert complete("eval", "nowhere/x", cwd=tmp_path) == []
