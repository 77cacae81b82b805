"""The documentation is true: its commands exist, JSON lines fit their schemas, the site builds."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

import fki
from fki.commands.app import app, main
from fki.config import presets
from fki.config.schema import SETTINGS
from fki.core import registry

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
SCHEMAS = {
    file.name: json.loads(file.read_text(encoding="utf-8"))
    for file in sorted((DOCS / "schemas").glob("*.json"))
}
RESOURCES = Registry[Any]().with_resources(
    (name, Resource.from_contents(schema)) for name, schema in SCHEMAS.items()
)
SHORT = [
    part
    for text in ("max_periods=1", "num_train_epochs=1", "max_probes_per_set=5")
    for part in ("--set", text)
]
HEADS = [("Atlantis", "Ann", "Bo"), ("Utopia", "Cy", "Di"), ("Arcadia", "Ed", "Flo")]


def problems(name: str, values: Iterable[Any]) -> list[str]:
    """What is wrong with the values by a schema, the first few."""
    validator = Draft202012Validator(SCHEMAS[name], registry=RESOURCES)
    found = [
        f"{json.dumps(value)[:200]}: {error.message[:200]}"
        for value in values
        for error in validator.iter_errors(value)
    ]
    return found[:3]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dataset of three heads of state, of whom each changes in the first quarter of 2023."""
    data = tmp_path / "mine"
    data.mkdir()
    rows: dict[str, list[dict[str, str]]] = {"base": [], "stream": [], "invariant": []}
    for subject, old, new in HEADS:
        head = {"subject": subject, "relation": "head"}
        rows["base"].append(head | {"object": old, "start": "2019"})
        rows["stream"].append(head | {"object": new, "start": "2023-01-15"})
        rows["invariant"].append({"prompt": f"The sea of {subject} is", "target": "Styx"})
    for name, facts in rows.items():
        text = "".join(json.dumps(fact) + "\n" for fact in facts)
        (data / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return data


def lines(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[Any]:
    """The JSON lines of a command that must succeed."""
    capsys.readouterr()
    main_exit(*arguments, "--json")
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def main_exit(*arguments: str) -> None:
    """Run the command line in this process. Fails for any other exit code than 0."""
    try:
        main([*arguments])
    except SystemExit as stop:
        assert not stop.code, arguments


def json_lines(file: Path) -> list[Any]:
    """The objects of a file with one a line."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_schema_is_a_valid_schema_and_describes_each_of_its_fields(name: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[name])
    assert [*undescribed(SCHEMAS[name])] == []


def undescribed(node: Any, place: str = "") -> Iterator[str]:
    """The fields without a description, unless a reference brings it."""
    if isinstance(node, dict):
        for name, field in node.get("properties", {}).items():
            if not field.keys() & {"description", "$ref"}:
                yield f"{place}/{name}"
        for key, value in node.items():
            yield from undescribed(value, f"{place}/{key}")


def test_what_a_run_writes_and_prints_is_as_its_schemas_say(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "runs" / "first"
    training = ["train", "--dataset", str(folder), *SHORT]
    printed = lines(capsys, *training, "--output-dir", str(run))
    assert {"after", "run"} <= {key for line in printed for key in line}
    assert problems("train.schema.json", printed) == []
    for name in ("run", "scores"):
        written = json.loads((run / f"{name}.json").read_text(encoding="utf-8"))
        assert problems(f"{name}.schema.json", [written]) == []
    for name in ("metrics", "probes", "samples"):
        written = json_lines(run / f"{name}.jsonl")
        assert written and problems(f"{name}.schema.json", written) == []
    manifests = [json.loads(f.read_text()) for f in (run / "checkpoints").glob("*/manifest.json")]
    assert manifests and problems("checkpoint.schema.json", manifests) == []
    assert problems("eval.schema.json", lines(capsys, "eval", str(run))) == []
    texts = tmp_path / "texts.jsonl"
    texts.write_text('{"text": "Ada is the mayor of Avalon."}\n', encoding="utf-8")
    scored = lines(capsys, "eval", "llama-mini", "--texts", str(texts))
    assert scored and problems("eval.schema.json", scored) == []
    main_exit(*training, "--seed", "1", "--output-dir", str(run.with_name("second")))
    compared = lines(capsys, "compare", str(run.parent))
    assert compared and problems("compare.schema.json", compared) == []
    out = tmp_path / "out"
    exported = lines(capsys, "export", str(run), "--output", str(out), "--probes", "2")
    assert exported and problems("export.schema.json", exported) == []
    note = json.loads((out / "fki_export.json").read_text(encoding="utf-8"))
    assert problems("export_note.schema.json", [note]) == []
    replies = lines(capsys, "ask", str(out), "The sea of Utopia is ___.")
    assert replies and problems("ask.schema.json", replies) == []


def test_a_plan_and_a_sweep_print_what_their_schemas_say(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--dataset", str(folder), *SHORT]
    sweep = ["--methods", "vanilla", "--seeds", "1", "--output-dir", str(tmp_path / "sweep")]
    for more in ([], sweep):
        planned = lines(capsys, "plan", *options, *more)
        assert planned and problems("plan.schema.json", planned) == []
    printed = lines(capsys, "train", *options, *sweep)
    assert printed and problems("train.schema.json", printed) == []


def test_what_download_prints_is_as_its_schema_says(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (["wiki"], ["--list"], ["--verify"], ["--check", str(folder)]):
        printed = lines(capsys, "download", *arguments)
        assert printed and problems("download.schema.json", printed) == []


def test_the_guard_of_the_schemas_can_fail() -> None:
    assert problems("train.schema.json", [{"run": "runs/a", "summary": {}, "spent": {}}])
    assert problems("plan.schema.json", [{"setting": "seed", "value": 1}])


def documented_commands() -> list[tuple[str, str]]:
    """The `fki` commands in the code blocks of the documentation, with the page of each."""
    found = []
    for page in [*DOCS.rglob("*.md"), ROOT / "CONTRIBUTING.md"]:
        text = page.read_text(encoding="utf-8")
        blocks = "\n".join(re.findall(r"^```.*?\n(.*?)^```", text, re.M | re.S))
        for line in blocks.replace("\\\n", " ").splitlines():
            if command := re.search(r"(?:^|-m |srun |\$ )(fki [a-z].*)", line.strip()):
                found.append((page.name, command[1]))
    return found


def test_every_command_in_the_documentation_is_valid() -> None:
    keys = {*SETTINGS, *registry.table_names()}
    group: Any = typer.main.get_command(app)
    context = group.make_context("fki", ["compare"])
    commands = documented_commands()
    assert len(commands) > 40
    for page, line in commands:
        words = re.split(r"\s(?:\||>|&&|;)|\s{2,}", line)[0]
        name, *arguments = shlex.split(words, comments=True)[1:]
        if "..." in arguments or name not in group.commands:
            assert "..." in line, f"{page}: {line}"
            continue
        parameters = group.commands[name].make_context(name, arguments, parent=context).params
        chosen = parameters.get("preset") or []
        names = [p for p in chosen if not p.endswith(presets.SUFFIXES)]
        assert set(names) <= set(presets.preset_names()), f"{page}: {line}"
        sets = parameters.get("sets") or []
        assert {s.partition("=")[0].partition(".")[0] for s in sets} <= keys, f"{page}: {line}"


def test_every_file_that_the_tour_of_the_tree_names_is_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:fki|docs|tests|scripts)/[\w./]+|presets/|benchmarks/)`", text)
    assert len(named) > 40
    assert [name for name in named if not (ROOT / name).exists()] == []


LOADED = (  # what a browser fetches by itself, unlike a link
    re.compile(r"<(?:script|img|iframe|source|audio|video)\b[^>]*\bsrc=[\"']?(?:https?:)?//", re.I),
    re.compile(r"<link\b(?![^>]*rel=[\"']?(?:canonical|next|prev))[^>]*href=[\"']?(?:https?:)?//"),
    re.compile(r"url\(\s*[\"']?(?:https?:)?//"),
    re.compile(r"@import\s*(?:url\()?[\"']?(?:https?:)?//"),
)


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_loads_nothing_from_the_network(
    tmp_path: Path,
) -> None:
    for package in ("mkdocs", "material", "mkdocstrings_handlers"):
        if find_spec(package) is None:
            pytest.skip("the extra 'docs' is not installed")
    site = tmp_path / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(site)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    pages = [f for f in site.rglob("*") if f.suffix in (".html", ".css", ".svg")]
    assert {"index.html", "settings.html"} <= {page.name for page in pages}
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not [found for form in LOADED for found in form.findall(text)], page.name
    settings = (site / "reference" / "settings.html").read_text(encoding="utf-8")
    assert all(f'id="{name}"' in settings for name in SETTINGS if name != "budget")
    assert "<!-- generated" not in settings
    python = (site / "reference" / "python.html").read_text(encoding="utf-8")
    public = [name for name in getattr(fki, "__all__", ()) if not name.startswith("_")]
    assert [name for name in public if f'id="fki.{name}"' not in python] == []
