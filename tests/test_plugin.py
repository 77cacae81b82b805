"""A stranger's method, built as a package and installed into a virtual environment of its own.

The environment sees the running interpreter's packages and this checkout, so nothing is fetched.
One process does all that a plug-in's user would type; the tests read what it showed.
"""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

import fki

PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "fki-bottleneck"
version = "1.0"

[project.entry-points."fki.methods"]
bottleneck = "fki_bottleneck:Bottleneck"
blind_bottleneck = "fki_bottleneck:BlindBottleneck"
absent_bottleneck = "fki_bottleneck.absent:Nothing"
"""
MODULE = '''
"""A bottleneck after the encoder, and one that looks at the padding too."""

from pydantic import Field
from torch import nn

from fki.core.errors import CannotFold
from fki.methods import base


class BottleneckOptions(base.Options):
    width: int = Field(2, ge=1)
    """How wide the bottleneck is."""


class Bottleneck(base.Method):
    Options = BottleneckOptions

    def prepare(self, model):
        beside = base.unfrozen_parameters(model, self.config.freeze_level)
        size, encoder = model.config.d_model, model.get_encoder()
        encoder.down = nn.Linear(size, self.options.width)
        encoder.up = nn.Linear(self.options.width, size)
        nn.init.zeros_(encoder.up.weight)
        nn.init.zeros_(encoder.up.bias)
        encoder.register_forward_hook(self.add)
        base.train_only(
            model, [*beside, *encoder.down.parameters(), *encoder.up.parameters()]
        )
        return model

    def add(self, encoder, inputs, output):
        output.last_hidden_state = output.last_hidden_state + encoder.up(
            encoder.down(self.read(output.last_hidden_state))
        )
        return output

    def read(self, states):
        return states

    def fold(self, model):
        raise CannotFold("A bottleneck has no place in a plain model.")


class BlindBottleneck(Bottleneck):
    def read(self, states):
        return states.mean(1, keepdim=True)
'''
SESSION = '''
"""Types the commands of argv[1], checks the methods of argv[2]; prints what each showed."""

import contextlib
import io
import json
import sys
import traceback

from fki.commands.app import main

shown = {}
for name, arguments in json.loads(sys.argv[1]).items():
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(arguments)
        except SystemExit as stop:
            code = stop.code or 0
        except BaseException:
            traceback.print_exc()
            code = "an exception"
    shown[name] = {"code": code, "out": out.getvalue(), "err": " ".join(err.getvalue().split())}

import torch

from fki.testing import check_method

torch.set_num_threads(1)
for name in json.loads(sys.argv[2]):
    try:
        check_method(name)
        shown[name] = "keeps the contract"
    except AssertionError as broken:
        shown[name] = str(broken)
print(json.dumps(shown))
'''
ROWS = [
    {"subject": "Avalon", "relation": "mayor", "object": "Ada Quill", "start": "2024-01-05"},
    {"subject": "Oz", "relation": "mayor", "object": "Dorothy Gale", "start": "2024-02-05"},
]
SHORT = ["--dataset", "mine", "--set", "num_train_epochs=1"]
COMMANDS = {
    "unknown method": ["plan", "--method", "botleneck"],
    "misspelt option": ["plan", "--method", "bottleneck", "--set", "bottleneck.widht=3"],
    "bad option": ["plan", "--method", "bottleneck", "--set", "bottleneck.width=0"],
    "broken plug-in": ["plan", "--method", "absent_bottleneck"],
    "plan": ["plan", "--method", "bottleneck", "--set", "bottleneck.width=3", *SHORT, "--json"],
    "train": ["train", "--method", "bottleneck", "--output-dir", "runs/a", *SHORT, "--json"],
    "compare": ["compare", "runs", "--json"],
    "eval": ["eval", "runs/a", "--json"],
    "export": ["export", "runs/a", "--output", "out"],
}


def make_environment(place: Path) -> Path:
    """The Python of a new environment that sees what this one sees."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    python = place / "bin" / "python"
    where = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    found = subprocess.run([python, "-c", where], check=True, capture_output=True, text=True)
    checkout = Path(fki.__file__).resolve().parent.parent
    paths = sysconfig.get_paths()
    seen = dict.fromkeys([str(checkout), paths["purelib"], paths["platlib"]])
    (Path(found.stdout.strip()) / "seen.pth").write_text("\n".join(seen), encoding="utf-8")
    return python


def install(python: Path, package: Path) -> None:
    """Build the package and install it, without a network."""
    (package / "fki_bottleneck").mkdir(parents=True)
    (package / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    (package / "fki_bottleneck" / "__init__.py").write_text(MODULE, encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python]
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--no-cache-dir"]
    subprocess.run([*pip, "install", *options, package], check=True)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each command and each check showed in the plug-in's environment."""
    home = tmp_path_factory.mktemp("plugin")
    python = make_environment(home / "venv")
    install(python, home / "package")
    (home / "mine").mkdir()
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    (home / "mine" / "stream.jsonl").write_text(lines, encoding="utf-8")
    (home / "session.py").write_text(SESSION, encoding="utf-8")
    ours = {k: v for k, v in os.environ.items() if k != "PYTHONPATH" and not k.startswith("FKI_")}
    done = subprocess.run(
        [python, "session.py", json.dumps(COMMANDS), '["bottleneck", "blind_bottleneck"]'],
        cwd=home,
        env=ours | {"FKI_HOME": str(home / "home")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def test_a_plug_in_is_listed_and_suggested_among_the_methods(shown: dict[str, Any]) -> None:
    found = shown["unknown method"]
    assert found["code"] == 2
    assert (
        "absent_bottleneck, blind_bottleneck, bottleneck or peft:NAME, not 'botleneck'"
        in found["err"]
    )
    assert "Did you mean 'bottleneck'?" in found["err"]


def test_a_plug_in_s_options_are_corrected_like_ours(shown: dict[str, Any]) -> None:
    misspelt, bad = shown["misspelt option"], shown["bad option"]
    assert (misspelt["code"], bad["code"]) == (2, 2)
    assert "unknown key 'bottleneck.widht'. Did you mean 'width'?" in misspelt["err"]
    assert "bottleneck.width must be an integer of at least 1, not 0." in bad["err"]


def test_a_plug_in_that_cannot_be_imported_is_named_with_its_package(shown: dict[str, Any]) -> None:
    found = shown["broken plug-in"]
    assert found["code"] == 2
    assert (
        "'absent_bottleneck' (fki_bottleneck.absent:Nothing, from fki-bottleneck)" in found["err"]
    )
    assert "ModuleNotFoundError" in found["err"] and "Traceback" not in found["err"]


def test_a_plug_in_s_options_and_parameters_are_in_the_plan(shown: dict[str, Any]) -> None:
    assert shown["plan"]["code"] == 0, shown["plan"]["err"]
    *settings, end = map(json.loads, shown["plan"]["out"].splitlines())
    width = {"setting": "bottleneck.width", "value": 3, "origin": "--set"}
    assert width in settings
    assert end["plan"]["added"] == 128 * 3 + 3 + 3 * 128 + 128


def test_a_run_of_a_plug_in_is_trained_compared_and_asked_again(shown: dict[str, Any]) -> None:
    assert shown["train"]["code"] == 0, shown["train"]["err"]
    assert shown["compare"]["code"] == 0, shown["compare"]["err"]
    line, _ = map(json.loads, shown["compare"]["out"].splitlines())  # the arm, then the bounds
    assert (line["runs"], line["name"], line["method"]) == (["runs/a"], "bottleneck", "bottleneck")
    trained = json.loads(shown["train"]["out"].splitlines()[-1])["summary"]["probe_sets"]["new"]
    asked = json.loads(shown["eval"]["out"].splitlines()[-1])["summary"]["probe_sets"]["new"]
    assert asked["log_likelihood"]["after"] == pytest.approx(trained["log_likelihood"]["after"])
    assert shown["export"]["code"] == 1
    assert "A bottleneck has no place in a plain model." in shown["export"]["err"]


def test_the_contract_sweeps_up_a_plug_in(shown: dict[str, Any]) -> None:
    assert shown["bottleneck"] == "keeps the contract"


def test_the_contract_finds_the_plug_in_that_ignores_the_padding_mask(
    shown: dict[str, Any],
) -> None:
    assert "Longer padding" in shown["blind_bottleneck"]
