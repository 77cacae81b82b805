"""Give broken inputs to every command, in one process, and count what is not refused in words.

    python -m benchmarks.broken_inputs [--inputs 10000] [--only PATTERN] [--jobs 2]

Each input is a sound file, variable, argument or run with mutations that Hypothesis draws (no
database, the same examples each time). A fault is an exception, an exit code that is not of its
kind, no message with a code, a warning, a changed input, or a changed file beside the folder that
the command works in.
"""

import argparse
import bz2
import copy
import gzip
import hashlib
import io
import json
import os
import re
import resource
import shutil
import sys
import tarfile
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from benchmarks.entities import dump_lines
from benchmarks.mutations import PIECES, VALUES, mutate_bytes, mutate_file, mutate_text

QUESTION = "The head of X is ___."
CPU_SECONDS = 30.0  # of one command at most
MEMORY = 24 * 2**30  # bytes of address space
ROWS = {
    "stream.jsonl": '{"subject": "X", "relation": "head", "object": "A", "start": "2023-01-01"}\n'
    '{"prompt": "The sea of X is", "target": "Styx", "date": "2023-05"}\n'
    '{"text": "On 3 May 2023 Ann Lee opened the Harbour Museum of X.", "date": "2023-05-04"}\n',
    "stream.csv": "subject,relation,object,start\nX,head,A,2023-01-01\nY,head,B,2023-02\n",
    "base.jsonl": '{"subject": "X", "relation": "head", "object": "Z", "start": "2019"}\n',
    "relations.json": '{"head": {"wordings": ["The head of [X] is [Y].", "[X]: [Y]."]}}',
    "probes/keep_other.jsonl": '{"prompt": "The lake of X is", "target": ["Lethe", "L."]}\n'
    '{"id": "p2", "prompt": "X borders", "target": "Y", "date": "2023-02-01"}\n',
}
OLD_CONFIG = {
    "method": "recadam",
    "dataset": "wiki",
    "dataset_version": "quarter",
    "learning_rate": 2e-3,
    "num_train_epochs": 3,
    "freeze_level": 1,
    "train_batch_size": 16,
    "ngpu": 1,
    "use_lr_scheduling": False,
    "output_dir": "out",
}


@dataclass(frozen=True)
class Call:
    """A command on a broken input.

    Attributes:
        arguments: of `fki`; the current folder is the folder to work in.
        codes: the exit codes that suit the input.
        kept: folders and files that the command must not change.
    """

    arguments: list[str]
    codes: tuple[int, ...] = (0, 2, 3)
    kept: tuple[Path, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    encoding: str = "utf-8"  # of the terminal


@dataclass(frozen=True)
class Outcome:
    """The exit code of a call, and what is wrong ("" if nothing is)."""

    code: int
    fault: str = ""
    details: str = ""


class Sound:
    """Sound inputs that are made once: runs, models, archives, dumps."""

    def __init__(self, folder: Path) -> None:
        from fki.testing import toy_model, toy_tokenizer

        self.folder = folder
        self.tokenizer = toy_tokenizer().tokenizer
        write_dataset(folder / "data", "stream.jsonl")
        toy_model().save_pretrained(folder / "toy")
        self.tokenizer.save_pretrained(folder / "toy")
        with self.with_toy():
            for method in ("vanilla", "lora"):
                self._train(method)
            outcome = run_call(
                Call(["export", str(folder / "runs" / "vanilla"), "--output", str(folder / "hf")])
            )
            assert outcome.code == 0, outcome
        self._write_sources()

    def _train(self, method: str) -> None:
        sets = ("--set", "num_train_epochs=1", "--set", "max_probes_per_set=3")
        data = ("--dataset", str(self.folder / "data"), "--method", method)
        output = ("--output-dir", str(self.folder / "runs" / method))
        outcome = run_call(Call(["train", *data, *sets, *output], (0,)))
        assert outcome.code == 0, outcome

    def _write_sources(self) -> None:
        from tests.commands.test_download_field import WRITERS
        from tests.support.two_snapshots import save_two

        for name, write in WRITERS.items():
            write(self.folder / "field" / name)
        (self.folder / "dump.json").write_bytes(b"".join(dump_lines(60)))
        (self.folder / "wiki").mkdir()
        save_two(self.folder / "wiki")
        templama = self.folder / "field" / "templama"
        with tarfile.open(self.folder / "archive.tar.gz", "w:gz") as tar:
            tar.add(templama, "templama")
        with tarfile.open(self.folder / "archive.tar", "w") as tar:
            tar.add(templama, "templama")
        with zipfile.ZipFile(self.folder / "archive.zip", "w") as archive:
            for file in sorted(templama.rglob("*")):
                archive.write(file, file.relative_to(templama))

    @contextmanager
    def with_toy(self) -> Iterator[None]:
        """Load a toy in place of the embedded model, which takes longer than all else."""
        from fki.modeling import load
        from fki.testing import toy_model

        def load_toy(name: str, *how: Any) -> Any:
            return load.BaseModel(toy_model(), copy.deepcopy(self.tokenizer), name)

        with mock.patch.object(load, "load_base_model", load_toy):
            yield


def write_dataset(folder: Path, stream: str, broken: str = "", content: bytes = b"") -> None:
    """Write a dataset folder with one of the two streams, and with one broken file."""
    for name, text in ROWS.items():
        if not name.startswith("stream") or name == stream:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
    if broken:
        (folder / broken).write_bytes(content)


def run_call(call: Call) -> Outcome:
    """Run the command line in this process. Returns its exit code and its fault."""
    from fki.commands.app import main

    out = io.TextIOWrapper(io.BytesIO(), encoding=call.encoding, write_through=True)
    err = io.TextIOWrapper(io.BytesIO(), encoding=call.encoding, write_through=True)
    code, fault, details = 0, "", ""
    began = time.process_time()
    try:
        with (
            mock.patch.dict(os.environ, call.environment),
            redirect_stdout(out),
            redirect_stderr(err),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", category=FutureWarning, module="peft")
            main(call.arguments)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(bool(end.code))
    except BaseException as error:
        fault, details = describe_exception(error), traceback.format_exc()
        code = 70
    said = err.buffer.getvalue().decode(call.encoding, "replace")  # type: ignore[attr-defined]
    if not fault and "Traceback" in said:
        fault, details = "a traceback on stderr", said
    if not fault and code not in call.codes:
        fault, details = f"exit code {code}", said
    if not fault and code and not said.strip():
        fault = f"no message with exit code {code}"
    if not fault and time.process_time() - began > CPU_SECONDS:
        fault = f"more than {CPU_SECONDS:g} CPU seconds"
    return Outcome(code, fault, details)


def describe_exception(error: BaseException) -> str:
    """The type of an exception, and the last place in fki that it passed."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/fki/" in f.filename]
    place = f"{frames[-1].filename.rpartition('/fki/')[2]}:{frames[-1].lineno}" if frames else "?"
    return f"{type(error).__name__} in {place}: {str(error)[:120]}"


def digest(paths: tuple[Path, ...]) -> str:
    """A digest of files and folders, with their names."""
    total = hashlib.sha256()
    for path in paths:
        for file in [path] if path.is_file() else sorted(path.rglob("*")):
            total.update(str(file).encode() + b"\0")
            if file.is_file() and not file.is_symlink():
                total.update(file.read_bytes())
    return total.hexdigest()


Kind = Callable[[Sound, Path, Random], Call]


def break_preset(sound: Sound, folder: Path, rng: Random) -> Call:
    """A preset."""
    from fki.config.presets import presets_folder

    source = presets_folder() / f"{rng.choice(['t5_recadam', 't5_lora', 't5_base', 't5'])}.toml"
    file = folder / "broken.toml"
    file.write_bytes(mutate_file(source.read_bytes(), ".toml", rng))
    return Call(["plan", "--preset", str(file), "--to-toml"], (0, 2), (file,))


def break_old_config(sound: Sound, folder: Path, rng: Random) -> Call:
    """A JSON config of the original research code."""
    file = folder / "broken.json"
    file.write_bytes(mutate_file(json.dumps(OLD_CONFIG, indent=1).encode(), ".json", rng))
    return Call(["plan", "--config", str(file), "--to-toml"], (0, 2), (file,))


def odd_text(rng: Random) -> str:
    """A value as a user or a script may pass it."""
    value = rng.choice([*PIECES, *VALUES, rng.randint(-9, 9), rng.random()])
    text = value if isinstance(value, str) else rng.choice([repr, json.dumps])(value)
    return mutate_text(text, rng).decode("utf-8", "replace") if rng.random() < 0.2 else text


def passable(text: str) -> str:
    """The text without what no operating system passes: NUL and lone surrogates."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def odd_key(rng: Random) -> str:
    from fki.config.schema import SETTINGS

    keys = [*SETTINGS, "recadam.gamma", "budget.steps", "lora.rank", "mixreview.decay", "odd", ""]
    return rng.choice(keys)


def break_variable(sound: Sound, folder: Path, rng: Random) -> Call:
    """A variable FKI_*."""
    name = "FKI_" + odd_key(rng).upper().replace(".", rng.choice(["__", "_"]))
    return Call(
        ["plan", "--to-toml"], (0, 2), environment={name: passable(odd_text(rng))[:100_000]}
    )


def break_set(sound: Sound, folder: Path, rng: Random) -> Call:
    """The value of --set, or of a flag."""
    values = [f"{odd_key(rng)}={odd_text(rng)}" for _ in range(rng.randint(1, 3))]
    arguments = [part for value in values for part in ("--set", value)]
    if rng.random() < 0.4:
        flag = rng.choice(["method", "version", "seed", "model", "methods", "seeds", "on-nan"])
        arguments += [f"--{flag}={odd_text(rng)}"]
    return Call(["plan", "--to-toml", *map(passable, arguments)], (0, 2, 3))


def break_dataset(sound: Sound, folder: Path, rng: Random) -> Call:
    """A file of a dataset folder: rows, relations or probes."""
    name = rng.choice([*ROWS])
    stream = name if name.startswith("stream") else "stream.jsonl"
    content = mutate_file(ROWS[name].encode(), Path(name).suffix, rng)
    write_dataset(folder / "data", stream, name, content)
    options = ("--set", "check_validation=true", "--output-dir", str(folder / "run"))
    return Call(["train", "--dataset", str(folder / "data"), *options], kept=(folder / "data",))


def break_checked_dataset(sound: Sound, folder: Path, rng: Random) -> Call:
    """A dataset that fki has made, with a manifest."""
    table = folder / "tables"
    table.mkdir()
    (table / "facts.csv").write_text("s,r,o,d\nX,head,A,2023-01-01\n", encoding="utf-8")
    columns = ("--columns", "subject=s,relation=r,object=o,date=d", "--output", "made")
    assert run_call(Call(["download", "m", "--from", str(table), *columns])).code == 0
    file = folder / "made" / rng.choice(["manifest.json", "stream.jsonl", "README.md"])
    file.write_bytes(mutate_file(file.read_bytes(), file.suffix, rng))
    return Call(["download", "--check", "made"], (0, 3), (folder / "made",))


def break_table(sound: Sound, folder: Path, rng: Random) -> Call:
    """A table to import: CSV, TSV, JSON lines, JSON or Parquet, and its column roles."""
    import pyarrow
    from pyarrow import parquet

    rows = [
        {"s": f"Town {n}", "r": "mayor", "o": f"Ann {n}", "d": f"2023-0{1 + n % 9}-0{1 + n % 9}"}
        for n in range(8)
    ]
    suffix = rng.choice([".csv", ".tsv", ".jsonl", ".json", ".parquet", ".csv.gz"])
    if suffix == ".parquet":
        odd = rng.random() < 0.5
        values = {k: [rng.choice(VALUES[8:12]) if odd else row[k] for row in rows] for k in "sro"}
        table = pyarrow.table(
            {k: [v if isinstance(v, str) else repr(v)[:9] for v in c] for k, c in values.items()}
            | {"d": [row["d"] for row in rows]}
        )
        sink = io.BytesIO()
        parquet.write_table(table, sink)
        content = sink.getvalue()
    elif suffix in (".jsonl", ".json"):
        lines = [json.dumps(row) for row in rows]
        content = ("\n".join(lines) if suffix == ".jsonl" else f"[{','.join(lines)}]").encode()
    else:
        mark = "\t" if suffix == ".tsv" else ","
        content = "\n".join([mark.join("srod"), *(mark.join(r.values()) for r in rows)]).encode()
    content = mutate_file(content, suffix.removesuffix(".gz"), rng)
    (folder / "tables").mkdir()
    file = folder / "tables" / f"facts{suffix}"
    file.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    columns = "subject=s,relation=r,object=o,date=d"
    if rng.random() < 0.2:
        columns = passable(mutate_text(columns, rng).decode("utf-8", "replace"))
    arguments = ("--from", str(folder / "tables"), "--columns", columns, "--output", "out")
    return Call(["download", "mine", *arguments], kept=(folder / "tables",))


def break_archive(sound: Sound, folder: Path, rng: Random) -> Call:
    """An archive: its bytes, its names or its members."""
    suffix = rng.choice([".tar.gz", ".tar", ".zip"])
    content = (sound.folder / f"archive{suffix}").read_bytes()
    if suffix == ".tar.gz" and rng.random() < 0.6:  # below the checksum of gzip
        content = gzip.compress(mutate_bytes(gzip.decompress(content), rng))
    else:
        content = mutate_bytes(content, rng)
    file = folder / f"archive{suffix}"
    file.write_bytes(content)
    return Call(["download", "templama", "--from", str(file), "--output", "out"], (0, 3), (file,))


def break_benchmark(sound: Sound, folder: Path, rng: Random) -> Call:
    """A file of a benchmark dataset in its original layout."""
    name = rng.choice(sorted(p.name for p in (sound.folder / "field").iterdir()))
    files = folder / "files"
    shutil.copytree(sound.folder / "field" / name, files)
    file = rng.choice(sorted(f for f in files.rglob("*") if f.is_file()))
    suffix = file.suffix
    if suffix == ".json" and file.read_bytes().count(b"\n") > 0:
        suffix = ".jsonl"  # some datasets name JSON lines so
    file.write_bytes(mutate_file(file.read_bytes(), suffix, rng))
    if rng.random() < 0.1:
        file.unlink()
    return Call(["download", name, "--from", str(files), "--output", "out"], (0, 2, 3), (files,))


def break_dump(sound: Sound, folder: Path, rng: Random) -> Call:
    """A Wikidata dump: its JSON or its compression."""
    text = (sound.folder / "dump.json").read_bytes()
    lines = text.splitlines(keepends=True)
    at = rng.randrange(1, len(lines) - 1)
    entity = mutate_file(lines[at].rstrip(b",\n"), ".json", rng)
    text = b"".join([*lines[:at], entity, b",\n", *lines[at + 1 :]])
    suffix, pack = rng.choice(
        [("json", bytes), ("json.gz", gzip.compress), ("json.bz2", bz2.compress)]
    )
    content = pack(text)
    if rng.random() < 0.3:
        content = mutate_bytes(content, rng)
    file = folder / f"dump.{suffix}"
    file.write_bytes(content)
    window = ("--since", "2015-01-01", "--until", "2020-01-01", "--relations", "P6,P35,P54,P19")
    arguments = ("wiki", str(file), "--from", "dump", *window, "--workers", "1", "--output", "out")
    return Call(["download", *arguments], (0, 3), (file,))


def break_export(sound: Sound, folder: Path, rng: Random) -> Call:
    """A MediaWiki export: its XML or its compression."""
    files = sorted((sound.folder / "wiki").iterdir())
    kept = []
    broken = rng.randrange(2)
    for n, source in enumerate(files):
        content = source.read_bytes()
        if n == broken and rng.random() < 0.7:
            content = bz2.compress(mutate_file(bz2.decompress(content), ".xml", rng))
        elif n == broken:
            content = mutate_bytes(content, rng)
        kept.append(folder / source.name)
        kept[-1].write_bytes(content)
    places = ("--from", *map(str, kept), "--workers", "1", "--output", "out")
    return Call(["download", "wikipedia", *places], (0, 3), tuple(kept))


RUN_FILES = (
    "run.json",
    "config.toml",
    "metrics.jsonl",
    "probes.jsonl",
    "samples.jsonl",
    "scores.json",
    "outcomes.npz",
    "checkpoints/LATEST",
    "checkpoints/2023-Q2/manifest.json",
    "checkpoints/2023-Q2/state.json",
    "checkpoints/2023-Q2/weights.safetensors",
)


def break_run(sound: Sound, folder: Path, rng: Random) -> Call:
    """A file of a run: changed, cut, deleted, or a folder in its place."""
    run = folder / "run"
    shutil.copytree(sound.folder / "runs" / "vanilla", run)
    name = rng.choice(["compare", "compare", "html", "eval", "ask", "export", "resume", "continue"])
    if name == "resume":  # as if it had been killed before its end
        info = json.loads((run / "run.json").read_text(encoding="utf-8"))
        (run / "run.json").write_text(json.dumps({**info, "status": "running"}))
    broken = run / rng.choice(RUN_FILES)
    match rng.randrange(12):
        case 0:
            broken.unlink()
        case 1:
            broken.unlink()
            broken.mkdir()
        case 2:
            broken.write_bytes(b"")
        case _:
            broken.write_bytes(mutate_file(broken.read_bytes(), broken.suffix, rng))
    if rng.random() < 0.3:
        (run / ".lock").write_text("stale")
    output = ("--output", "out")
    arguments = {
        "compare": ["compare", str(run), *rng.choice([(), ("--wide",), ("--csv",), ("--json",)])],
        "html": ["compare", str(run), "--html", "page.html", "--figures", "figures"],
        "eval": ["eval", str(run)],
        "ask": ["ask", str(run), QUESTION],
        "export": ["export", str(run), *output],
        "resume": ["train", "-p", str(sound.folder / "runs/vanilla/config.toml"),
                   "--output-dir", str(run)],
        "continue": ["train", "--continue-from", str(run), "--dataset", str(sound.folder / "data"),
                     "--set", "check_validation=true", "--output-dir", "next"],
    }[name]  # fmt: skip
    kept = () if name == "resume" else (run,)
    return Call(arguments, (0, 1, 2, 3, 4), (*kept, sound.folder / "data"))


MODEL_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "model.safetensors",
)


def break_model(sound: Sound, folder: Path, rng: Random) -> Call:
    """A file of a model folder or of an exported folder."""
    model = folder / "model"
    shutil.copytree(sound.folder / rng.choice(["toy", "hf"]), model)
    broken = model / rng.choice([name for name in MODEL_FILES if (model / name).exists()])
    if broken.name == "tokenizer.json" and rng.random() < 0.5:  # too large for one odd value
        text = broken.read_text(encoding="utf-8")
        broken.write_bytes(mutate_text(text[:2000], rng) + text[2000:].encode())
    else:
        broken.write_bytes(mutate_file(broken.read_bytes(), broken.suffix, rng))
    if rng.random() < 0.1:
        broken.unlink()
    data = ["--dataset", str(sound.folder / "data")]
    checked = ["--set", "check_validation=true", "--output-dir", "run"]
    arguments = rng.choice(
        [["ask", str(model), QUESTION], ["train", "--model", str(model), *data, *checked]]
    )
    return Call(arguments, (0, 1, 2, 3), (model,))


def break_question(sound: Sound, folder: Path, rng: Random) -> Call:
    """A question, and the other options of `fki ask`."""
    question = passable(mutate_text(QUESTION, rng).decode("utf-8", "replace"))
    run = sound.folder / "runs" / rng.choice(["vanilla", "lora"])
    more = rng.choice(
        [[], ["--runners-up", "0"], ["--json"], ["--period", passable(odd_text(rng))]]
    )
    return Call(["ask", *more, "--", str(run), question], (0, 2, 3), (run,))


TERMINALS = {
    "COLUMNS": ["0", "1", "7", "20", "80", "100000", "-3", "x", ""],
    "LINES": ["0", "1", "x"],
    "TERM": ["dumb", "", "xterm-256color", "unknown"],
    "NO_COLOR": ["", "1"],
    "FORCE_COLOR": ["1", "0"],
    "LANG": ["C", "tr_TR.UTF-8", "odd"],
    "TTY_COMPATIBLE": ["1", "0"],
}


def break_terminal(sound: Sound, folder: Path, rng: Random) -> Call:
    """The width, colors and encoding of a terminal."""
    chosen = rng.sample([*TERMINALS], rng.randint(1, 4))
    run = sound.folder / "runs"
    arguments = rng.choice(
        [
            ["--help"],
            ["plan"],
            ["plan", "--help"],
            ["train", "--help"],
            ["compare", str(run)],
            ["compare", str(run), "--wide"],
            ["compare", str(run), "--json"],
            ["compare", str(run), "--markdown"],
            ["download", "--list"],
            ["download", "--check", str(sound.folder / "data")],
            ["train", "--set", "lerning_rate=ü🦖"],
        ]
    )
    encoding = rng.choice(["utf-8", "ascii", "latin-1", "cp1252", "utf-16", "cp437"])
    values = {name: rng.choice(TERMINALS[name]) for name in chosen}
    return Call(arguments, (0, 1, 2, 3), (run,), values, encoding)


OPTIONS = {
    "plan": ["--preset", "--method", "--methods", "--seeds", "--seed", "--set", "--json"],
    "compare": ["--by", "--baseline", "--metric", "--sort", "--wide", "--html", "--csv", "--latex"],
    "download": ["--from", "--since", "--until", "--limit", "--columns", "--date", "--split",
                 "--relations", "--shard", "--wiki", "--check", "--workers", "--output"],
    "eval": ["--dataset", "--version", "--period", "--set", "--html", "--output"],
    "export": ["--to", "--output", "--period", "--average", "--dtype", "--max-shard-size",
               "--probes"],
    "ask": ["--period", "--runners-up", "--best"],
}  # fmt: skip


def break_arguments(sound: Sound, folder: Path, rng: Random) -> Call:
    """The arguments of any command."""
    command = rng.choice([*OPTIONS])
    run = str(sound.folder / "runs" / "vanilla")
    (folder / "runs").mkdir()
    target = {"plan": [], "download": [rng.choice(["lama", "mine", "wikipedia", odd_text(rng)])]}
    arguments = [command, *target.get(command, [rng.choice([run, run, run, odd_text(rng)])])]
    if command == "download" and rng.random() < 0.8:
        arguments += ["--from", str(sound.folder / "field" / "lama")]
    for option in rng.sample(OPTIONS[command], rng.randint(1, 3)):
        value = rng.choice([odd_text(rng), odd_text(rng), "2024-Q1", "2023-01-01", "1", "a=b,c=d"])
        arguments += [option] if rng.random() < 0.1 else [f"{option}={value}"]
    kept = (sound.folder / "runs", sound.folder / "field")
    return Call([passable(a) for a in arguments], (0, 1, 2, 3, 4), kept)


KINDS: dict[str, tuple[Kind, int]] = {  # with the share of all inputs, in thousandths
    "presets": (break_preset, 140),
    "old JSON configs": (break_old_config, 120),
    "variables": (break_variable, 120),
    "values of --set and flags": (break_set, 120),
    "dataset folders": (break_dataset, 60),
    "checked datasets": (break_checked_dataset, 30),
    "tables": (break_table, 80),
    "archives": (break_archive, 70),
    "benchmark files": (break_benchmark, 70),
    "dumps": (break_dump, 20),
    "XML exports": (break_export, 15),
    "run folders": (break_run, 50),
    "models and tokenizers": (break_model, 10),
    "questions": (break_question, 15),
    "terminals": (break_terminal, 30),
    "arguments": (break_arguments, 50),
}


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def try_one(kind: Kind, sound: Sound, root: Path, rng: Random) -> Outcome:
    """Break one input, run its command, and compare the files before and after."""
    folder, own = root / "work", root / "own"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    with working_in(folder), mock.patch.dict(os.environ, {"FKI_HOME": str(root / "home")}):
        shutil.rmtree(root / "home", ignore_errors=True)
        call = kind(sound, folder, rng)
        before = digest((*call.kept, own))
        if kind in (break_model, break_arguments, break_terminal):
            outcome = run_call(call)
        else:
            with sound.with_toy():
                outcome = run_call(call)
    unexpected = {f.name for f in root.iterdir()} - {"work", "own", "home"}
    if not outcome.fault and digest((*call.kept, own)) != before:
        outcome = Outcome(outcome.code, f"changes its input: {call.arguments[0]}")
    if not outcome.fault and unexpected:
        outcome = Outcome(outcome.code, f"writes outside: {sorted(unexpected)}")
    if outcome.fault:
        command = " ".join(call.arguments)[:1500]
        outcome = Outcome(outcome.code, outcome.fault, f"$ fki {command}\n{outcome.details}")
    return outcome


@contextmanager
def sound_inputs() -> Iterator[Sound]:
    """Sound inputs in a temporary folder."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name).resolve()
        with mock.patch.dict(os.environ, {"FKI_HOME": str(root / "home")}):
            yield Sound(root / "sound")


def try_kind(name: str, sound: Sound, inputs: int) -> list[Outcome]:
    """Try as many broken inputs of a kind, in a folder beside a file that must not change."""
    outcomes: list[Outcome] = []
    kind, _ = KINDS[name]

    @settings(
        max_examples=inputs,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[*HealthCheck],
    )
    @given(st.randoms(use_true_random=True))
    def try_next(rng: Random) -> None:
        outcomes.append(try_one(kind, sound, root, rng))

    with tempfile.TemporaryDirectory() as place:
        root = Path(place).resolve()
        (root / "own").mkdir()
        (root / "own" / "precious.txt").write_text("a file of the user")
        try_next()
    return outcomes


def main() -> None:
    """Print a row for each kind, and each fault once. Exits with 1 if there is a fault."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--inputs", type=int, default=10_000, help="of all kinds together")
    parser.add_argument("--only", default="", help="kinds whose name matches this pattern")
    parser.add_argument("--jobs", type=int, default=2, help="kinds at a time")
    options = parser.parse_args()
    os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", OMP_NUM_THREADS="1")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    chosen = {name: share for name, (_, share) in KINDS.items() if re.search(options.only, name)}
    total = sum(chosen.values())
    found = dict[str, list[Outcome]]()
    with sound_inputs() as sound, ProcessPoolExecutor(options.jobs, get_context("fork")) as pool:
        jobs = {
            name: pool.submit(try_kind, name, sound, -(-options.inputs * share // total))
            for name, share in chosen.items()
        }
        for name, job in jobs.items():
            found[name] = job.result()
            faults = sum(bool(outcome.fault) for outcome in found[name])
            print(f"{name}: {len(found[name])}, {faults} faults", file=sys.stderr, flush=True)
    print_table(found)
    sys.exit(any(outcome.fault for outcomes in found.values() for outcome in outcomes))


def print_table(found: dict[str, list[Outcome]]) -> None:
    """Print the inputs by kind and exit code, then each fault once, with its first example."""
    every = [outcome for outcomes in found.values() for outcome in outcomes]
    seen = sorted({outcome.code for outcome in every})
    print("| kind | inputs | " + " | ".join(f"exit {code}" for code in seen) + " | faults |")
    print("|---" * (len(seen) + 3) + "|")
    for name, outcomes in {**found, "all": every}.items():
        counts = Counter(outcome.code for outcome in outcomes)
        faults = sum(bool(outcome.fault) for outcome in outcomes)
        cells = [len(outcomes), *(counts[code] for code in seen), faults]
        print(f"| {name} | " + " | ".join(f"{cell:,}" for cell in cells) + " |")
    for name, outcomes in found.items():
        for fault, count in Counter(o.fault for o in outcomes if o.fault).most_common():
            first = next(outcome for outcome in outcomes if outcome.fault == fault)
            print(f"\n{name}: {count} x {fault}\n{first.details[:1500]}\n{first.details[-1500:]}")


if __name__ == "__main__":
    main()
