"""The house keeps its order: layers, what starts without torch, the README, the wheel."""

import ast
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from fki.commands.app import app
from fki.config import presets
from fki.config.schema import SETTINGS
from fki.core import registry

ROOT = Path(__file__).resolve().parents[1]
FKI = ROOT / "fki"
HEAVY = {"torch", "transformers", "accelerate", "peft", "datasets", "numpy", "matplotlib", "jinja2"}
ORDER = (  # from below to above; a package imports only those before it
    *("core", "config", "net", "data", "metrics", "modeling", "replay", "methods", "runs"),
    *("evaluation", "training", "comparison", "exporting", "report", "inference", "results", "api"),
    *("sources", "commands"),
)
BELOW = {name: set(ORDER[:place]) for place, name in enumerate(ORDER)} | {
    "data": {"core", "config"},
    "metrics": {"core"},
    "replay": {"core", "config"},
    "sources": {"core", "config", "net", "data"},
    "testing": {*ORDER},
    "__main__": {"commands"},
    "__init__": {"core", "results", "api"},
}
HEAVIER = {"typer", "rich", "matplotlib", "jinja2"}
STRANGERS = {  # what a layer may not import although it is installed
    "core": {*HEAVY, "rich", "typer"},
    "config": {*HEAVY, "rich", "typer"},
    "net": {*HEAVY, "rich", "typer"},
    "data": {*HEAVIER, "accelerate"},
    "metrics": {*HEAVIER, "accelerate"},
    "modeling": HEAVIER,
    "replay": {*HEAVIER, "transformers", "accelerate", "peft"},
    "methods": {*HEAVIER, "accelerate"},
    "runs": HEAVIER,
    "evaluation": HEAVIER,
    "training": HEAVIER,
    "comparison": {*HEAVIER, "torch", "transformers", "accelerate", "peft", "datasets"},
    "exporting": HEAVIER - {"jinja2"},
    "report": {"rich", "typer", "torch", "transformers", "accelerate", "peft", "datasets"},
    "inference": HEAVIER,
    "results": {*HEAVY, "rich", "typer"},
    "api": {*HEAVY, "rich", "typer"},
    "sources": {*HEAVIER, "torch", "transformers", "accelerate", "peft"},
}
EARLY = ("core", "config", "commands", "results", "api", "__main__", "__init__")
SOURCES = sorted(FKI.rglob("*.py"))


def imports(tree: ast.AST) -> Iterator[str]:
    """The dotted name of everything imported, wherever it stands; `.` for a relative import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." if node.level else str(node.module)
            yield from (f"{module}.{alias.name}" for alias in node.names)


class Running(ast.NodeTransformer):
    """Leaves out what stands under TYPE_CHECKING, which never runs."""

    def visit_If(self, node: ast.If) -> ast.AST:
        return ast.Pass() if "TYPE_CHECKING" in ast.unparse(node.test) else self.generic_visit(node)


def violations(layer: str, source: str) -> list[str]:
    """The imports that this layer may not have; those for types alone may be strangers."""
    found = []
    runs = set(imports(Running().visit(ast.parse(source))))
    for name in imports(ast.parse(source)):
        top, _, rest = name.partition(".")
        inner = rest.split(".")[0]
        goes_sideways = top == "fki" and inner in BELOW and inner not in {*BELOW[layer], layer}
        is_stranger = top in STRANGERS.get(layer, ()) and name in runs
        if goes_sideways or is_stranger or top == "":
            found.append(name)
    return found


def layer_of(file: Path) -> str:
    return file.relative_to(FKI).parts[0].removesuffix(".py")


@pytest.mark.parametrize("file", SOURCES, ids=lambda f: str(f.relative_to(ROOT)))
def test_imports_go_down_never_sideways(file: Path) -> None:
    assert violations(layer_of(file), file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("layer", "source"),
    [
        ("methods", "from fki.runs.checkpoint import load"),
        ("metrics", "def f():\n    import fki.methods.base"),
        ("data", "from fki import metrics"),
        ("core", "if True:\n    from fki.data import stream"),
        ("core", "import torch.nn"),
        ("training", "from rich.table import Table"),
        ("training", "from fki.commands import train"),
        ("evaluation", "from fki.training import session"),
        ("comparison", "from fki.report import html_page"),
        ("runs", "import matplotlib"),
        ("sources", "from fki.training import session"),
        ("report", "from fki.commands._console import number"),
        ("report", "import torch"),
        ("inference", "import fki.commands.app"),
        ("data", "from .stream import cut"),
        ("data", "from . import stream"),
    ],
)
def test_the_guard_of_the_layers_can_fail(layer: str, source: str) -> None:
    assert len(violations(layer, source)) == 1


def test_the_guard_of_the_layers_lets_what_is_allowed_pass() -> None:
    source = "import torch\nfrom fki import __version__\nfrom fki.core.types import Fact\n"
    assert violations("methods", source + "from fki.methods.base import Method") == []


def at_module_level(tree: ast.Module) -> Iterator[str]:
    """What importing the module imports."""
    for node in Running().visit(tree).body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from imports(node)


@pytest.mark.parametrize(
    "file",
    [f for f in SOURCES if layer_of(f) in EARLY],
    ids=lambda f: str(f.relative_to(ROOT)),
)
def test_what_starts_first_imports_nothing_heavy(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    assert [n for n in at_module_level(tree) if n.split(".")[0] in HEAVY] == []
    late = tuple(f"fki.{name}" for name in ORDER if name not in EARLY)
    light = "fki.exporting.formats.registry."  # a table that imports nothing
    names = [name for name in at_module_level(tree) if not name.startswith(light)]
    assert [name for name in names if name.startswith(late)] == []


NETWORK = {"httpx", "httpx2", "http", "urllib", "requests", "aiohttp", "socket", "ftplib"}


def uses_the_network(source: str) -> bool:
    """Does it import a client, or name one for `import_module`?"""
    tree = ast.parse(source)
    named = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and n.value in NETWORK}
    brought = {name for name in imports(tree) if not name.startswith("urllib.parse")}
    return bool(named | {name.split(".")[0] for name in brought} & NETWORK)


def test_one_module_alone_uses_the_network_and_one_a_cluster() -> None:
    found = [file for file in SOURCES if uses_the_network(file.read_text(encoding="utf-8"))]
    assert found == [FKI / "net" / "http.py", FKI / "net" / "ray_cluster.py"]


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        (["--help"], set()),
        (["--version"], set()),
        (["train", "--help"], set()),
        (["compare", "runs"], {"numpy"}),
    ],
    ids=str,
)
def test_what_needs_no_model_loads_no_torch(
    tmp_path: Path, arguments: list[str], needed: set[str]
) -> None:
    (tmp_path / "runs").mkdir()
    code = (
        "import sys\nfrom fki.commands.app import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit: pass\n"
        f"print(sorted({HEAVY - needed!r} & sys.modules.keys()), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stderr.splitlines()[-1] == "[]"


def loaded(code: str) -> set[str]:
    """The modules that a fresh process has after this code, their first names alone."""
    ending = "\nimport sys; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code + ending], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_training_imports_what_it_uses_and_no_more() -> None:
    names = loaded("import fki.training.runner, fki.training.session, fki.methods.recadam")
    assert names >= {"torch", "transformers", "accelerate"}
    assert not names & {"peft", "datasets", "pandas", "sklearn", "matplotlib", "rich", "typer"}


def test_a_report_is_drawn_without_torch_and_without_a_window() -> None:
    modules = ("comparison.breakdown", "report.html_page", "report.table_formats")
    code = "import fki.report.save_figures, " + ", ".join(f"fki.{name}" for name in modules)
    names = loaded(code + "\nimport sys; assert 'matplotlib.pyplot' not in sys.modules")
    assert names >= {"matplotlib", "jinja2"}
    assert not names & {"torch", "transformers", "rich", "typer", "tkinter", "pandas"}


def test_help_starts_without_the_settings_machinery() -> None:
    code = "from fki.commands.app import main\ntry: main(['--help'])\nexcept SystemExit: pass"
    assert not loaded(code) & {"pydantic", "tomli_w", *HEAVY}


def settings_read() -> set[str]:
    """Each name that is read as `config.<name>` or `<something>.config.<name>`."""
    found = set()
    for file in SOURCES:
        if file == FKI / "config" / "schema.py":
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                owner = node.value
                name = getattr(owner, "attr", getattr(owner, "id", ""))
                found |= {node.attr} if name == "config" else set()
    return found


def test_every_setting_is_read_somewhere() -> None:
    assert sorted(set(SETTINGS) - settings_read()) == []


REASONS = {  # modules without a test file of their name: the file that tests them, and why
    "__main__": ("training/test_processes.py", "starts it in a fresh process"),
    "commands/_dataset_view": ("commands/test_download.py", "its tables are the command's output"),
    "config/compat/ckl_keys": (
        "config/compat/test_ckl_config.py",
        "tables that the reader applies",
    ),
    "data/open_dataset": ("sources/test_place_dataset.py", "opens what a download has placed"),
    "data/row_schema": ("data/test_dataset_folder.py", "validates the rows of a folder"),
    "evaluation/evaluate": ("commands/test_train.py", "evaluates runs through the command"),
    "exporting/formats/base": ("exporting/formats/test_formats.py", "every format is held to it"),
    "exporting/formats/beam_search": (
        "exporting/formats/test_foreign_runtimes.py",
        "beams of the runtimes that have none",
    ),
    "exporting/formats/ctranslate2": (
        "exporting/formats/test_foreign_runtimes.py",
        "one matrix for all runtimes",
    ),
    "exporting/formats/gguf_file": (
        "exporting/formats/test_gguf_decoder.py",
        "the file of the format",
    ),
    "exporting/formats/llama_cpp_runtime": (
        "exporting/formats/test_gguf.py",
        "the runtime of the format",
    ),
    "exporting/formats/onnx_decoder_runtime": (
        "exporting/formats/test_onnx_decoder.py",
        "the runtime of the format",
    ),
    "exporting/formats/onnx_runtime": (
        "exporting/formats/test_onnx.py",
        "the runtime of the format",
    ),
    "exporting/formats/peft": ("exporting/formats/test_hf.py", "both are folders of transformers"),
    "exporting/formats/plain_decoder": (
        "exporting/test_model_card.py",
        "what every format of a decoder has",
    ),
    "exporting/formats/plain_t5": (
        "exporting/formats/test_foreign_runtimes.py",
        "the model that these formats convert",
    ),
    "exporting/formats/registry": (
        "exporting/formats/test_formats.py",
        "a table that the test goes through",
    ),
    "exporting/formats/trace_graph": (
        "exporting/formats/test_onnx.py",
        "writes the graphs of the format",
    ),
    "exporting/hub_upload": (
        "commands/test_push.py",
        "uploads through the command to a local server",
    ),
    "exporting/provenance": ("exporting/test_export.py", "provenance is part of an export"),
    "inference": ("commands/test_ask.py", "answers through the command"),
    "methods/encoder_branch": (
        "methods/test_kadapter.py",
        "the base class of kadapter and modular",
    ),
    "methods/mixreview": ("replay/test_uniform.py", "vanilla with this policy"),
    "modeling/decoding": ("evaluation/test_evaluator.py", "decoding is part of evaluation"),
    "modeling/gather_head": ("modeling/test_causal.py", "a part of each forward pass"),
    "modeling/modeling_fki": ("methods/test_kadapter.py", "the modules of the methods"),
    "modeling/runtime": ("exporting/test_export.py", "runtimes are compared in exports"),
    "modeling/seq2seq_decoding": ("evaluation/test_evaluator.py", "decoding is part of evaluation"),
    "net/bzip2": ("sources/wikidata/test_dump_pieces.py", "blocks of a dump"),
    "net/resolve_source": ("sources/test_dataset_writer.py", "places that a request names"),
    "replay/question_pool": ("replay/test_prioritized.py", "the pool of this policy"),
    "runs/output_log": ("commands/test_train.py", "the command's --set output_log"),
    "runs/recorded_answers": (
        "exporting/test_parity.py",
        "answers that exports are checked against",
    ),
    "sources/benchmarks/add_edits": (
        "sources/benchmarks/test_edits.py",
        "the readers of edits apply it",
    ),
    "sources/benchmarks/registry": (
        "commands/test_download_field.py",
        "all benchmarks through the command",
    ),
    "sources/benchmarks/temporalwiki": (
        "commands/test_download_field.py",
        "all benchmarks through the command",
    ),
    "sources/build": ("sources/test_place_dataset.py", "builds what is placed"),
    "sources/wikidata/ray_shards": (
        "commands/test_download_dump.py",
        "the command with a cluster in its place",
    ),
    "testing/case": ("testing/test_contract.py", "the case that each promise takes"),
    "testing/toy_decoders": ("testing/test_contract.py", "the models of the contract"),
    "testing/toy_models": ("testing/test_contract.py", "the models of the contract"),
    "training/peak_memory": ("training/test_runner.py", "a number in run.json"),
    "training/signals": ("runs/test_resume.py", "stops and saves of a run"),
}


def module_tests() -> dict[str, Path]:
    """Each module below fki/ by its path without ending, and the test file of its name."""
    names = [f.relative_to(FKI).with_suffix("") for f in SOURCES if f.name != "__init__.py"]
    tests = ROOT / "tests"
    return {n.as_posix(): tests / n.parent / f"test_{n.name.lstrip('_')}.py" for n in names}


def test_each_module_has_a_test_file_of_its_name_or_a_reason() -> None:
    missing = {module for module, file in module_tests().items() if not file.is_file()}
    assert sorted(missing) == sorted(REASONS), "a new module, or a reason that no longer holds"


@pytest.mark.parametrize("file", sorted({file for file, _ in REASONS.values()}))
def test_each_reason_names_a_test_file(file: str) -> None:
    assert (ROOT / "tests" / file).is_file()


def readme_commands() -> list[str]:
    """The `fki` commands in the README's code blocks, continued lines joined."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"^```.*?\n(.*?)^```", text, re.M | re.S))
    lines = (line.strip().removeprefix("$ ") for line in blocks.replace("\\\n", " ").splitlines())
    return [line for line in lines if line.startswith("fki ")]


def options_of(line: str) -> tuple[str, dict[str, object]]:
    """The command and its parameters, as typer reads them. Raises what typer raises."""
    words = re.split(r"\s(?:\||>|&&|;)", line)[0]
    name, *arguments = shlex.split(words, comments=True)[1:]
    group = typer.main.get_command(app)
    context = group.make_context("fki", ["compare"])
    command = group.get_command(context, name)  # type: ignore[attr-defined]
    assert command is not None, f"there is no command '{name}'"
    return name, command.make_context(name, arguments, parent=context).params


def test_the_readme_shows_at_least_five_commands() -> None:
    assert len(readme_commands()) >= 5


def test_every_command_in_the_readme_is_one() -> None:
    keys = {*SETTINGS, *registry.table_names()}
    for line in readme_commands():
        if "--help" in line or "--version" in line.split()[:2]:
            continue
        _, parameters = options_of(line)
        names = [p for p in parameters.get("preset") or [] if not p.endswith(presets.SUFFIXES)]
        assert set(names) <= set(presets.preset_names()), line
        sets = parameters.get("sets") or []
        assert {s.partition("=")[0].partition(".")[0] for s in sets} <= keys, line


@pytest.mark.parametrize("line", ["fki tarin", "fki train --speed 3", "fki export"])
def test_the_guard_of_the_readme_can_fail(line: str) -> None:
    with pytest.raises(Exception, match=r"no command|No such option|Missing"):
        options_of(line)


def test_every_test_that_the_list_of_faults_names_is_there() -> None:
    text = (ROOT / "docs" / "originals.md").read_text(encoding="utf-8")
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", text)
    assert len(named) > 25
    for file, test in named:
        found = [f for f in (ROOT / "tests").rglob(file) if f"def {test}(" in f.read_text("utf-8")]
        assert len(found) == 1, f"{file}::{test}"


def test_the_map_in_the_design_names_every_module_and_no_other() -> None:
    page = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    tree = page.partition("## The tree\n")[2].partition("\n## ")[0]
    named = {f"{name}" for name in re.findall(r"^  (\w+\.py) ", tree, re.M)}
    for section in re.split(r"^### fki/", tree, flags=re.M)[1:]:
        package, _, rest = section.partition("\n")
        named |= {f"{package}/{file}" for file in re.findall(r"^\| `([\w/]+\.py)` \|", rest, re.M)}
    modules = {file.relative_to(FKI).as_posix() for file in SOURCES if file.name != "__init__.py"}
    assert named - {"__init__.py"} == modules


def test_no_file_names_a_folder_of_one_machine() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    needle = re.compile(rb"(?<![\w.~/-])/(" + b"|".join([b"root", b"work"]) + rb")/")
    files = [ROOT / name.decode() for name in listed.stdout.split(b"\0") if name]
    found = [
        f"{file.relative_to(ROOT)}:{number}"
        for file in files
        if file.is_file() and b"\0" not in (content := file.read_bytes())[:8000]
        for number, line in enumerate(content.splitlines(), 1)
        if needle.search(line)
    ]
    assert files and found == []
