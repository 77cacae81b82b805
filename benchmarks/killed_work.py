"""The kinds of work that `benchmarks.soak` kills: inputs, commands, and what has to be equal."""

import bz2
import csv
import hashlib
import io
import json
import re
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.entities import dump_lines
from benchmarks.killed_commands import Command
from fki.core.paths import asset_folder
from fki.core.registry import BUILTIN

ROWS = {"stream": 40, "base": 12, "invariant": 12}  # of each file of the dataset `wiki`
TABLE_ROWS, DUMP_ITEMS = 3000, 400
SETTINGS = {"num_train_epochs": 2, "save_every_steps": 2, "train_batch_size": 8}
WINDOW = ("--since", "2015-01-01", "--until", "2020-01-01", "--relations", "P6,P35,P39,P54,P19")
COLUMNS = "subject=s,relation=r,object=o,date=d"
VOLATILE = {"seconds", "time", "examples_per_second", "tokens_per_second"}  # of metrics.jsonl
# the time in a dataset's manifest, the day in its card, and the digest of the card
MADE_AT = re.compile(
    rb'"at": "[^"]*"|on \d{4}-\d\d-\d\d \(UTC\)|"README.md": \{\s*"sha256": "[^"]*"'
)
Digests = dict[str, Any]


@dataclass(frozen=True)
class Work:
    """A kind of work.

    Attributes:
        share: of all kills, in thousandths.
        commands: from the folder of the inputs and the folder to work in to the commands, which
            run at the same time; each is repeated after it is killed.
        digest: of the results in the folder to work in.
        needs: "run": finished runs among the inputs; "server": a web server with an archive.
    """

    share: int
    commands: Callable[[Path, Path], list[Command]]
    digest: Callable[[Path], Digests]
    needs: str = ""


def write_inputs(folder: Path) -> None:
    """Write a dataset, tables, an archive of them, a dump and a toy model."""
    from fki.testing import toy_model, toy_tokenizer

    wiki, data = asset_folder("wiki"), folder / "data"
    data.mkdir(parents=True)
    (data / "relations.json").write_bytes((wiki / "relations.json").read_bytes())
    for name, rows in ROWS.items():
        lines = (wiki / f"{name}.jsonl").read_text(encoding="utf-8").splitlines(True)
        (data / f"{name}.jsonl").write_text("".join(lines[:rows]), encoding="utf-8")
    table = io.StringIO(newline="")
    rows = csv.writer(table)
    rows.writerow("srod")
    for n in range(TABLE_ROWS):
        rows.writerow([f"Town {n}", "mayor", f"Person {n}", f"2024-{1 + n % 9:02}-{1 + n % 28:02}"])
    (folder / "tables").mkdir()
    (folder / "tables" / "facts.csv").write_text(table.getvalue(), encoding="utf-8")
    with tarfile.open(folder / "templama.tar.gz", "w:gz") as archive:
        for year, name in ((2010, "train"), (2011, "test")):
            content = b"".join(_templama_row(n, year) for n in range(TABLE_ROWS))
            member = tarfile.TarInfo(f"templama/{name}.json")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    (folder / "dump.json.bz2").write_bytes(bz2.compress(b"".join(dump_lines(DUMP_ITEMS)), 1))
    toy_model().save_pretrained(folder / "toy")
    toy_tokenizer().tokenizer.save_pretrained(folder / "toy")


def _templama_row(number: int, year: int) -> bytes:
    row = {
        "query": f"Player {number} plays for _X_.",
        "answer": [{"wikidata_id": f"Q{number}", "name": f"Team {number * year % 997}"}],
        "date": str(year),
        "id": f"Q{number}_P54_{year}",
        "relation": "P54",
    }
    return json.dumps(row).encode() + b"\n"


def digest_files(folder: Path) -> Digests:
    """SHA-256 of each file of a folder, by its relative path; a file counts as a folder of one."""
    files = [folder] if folder.is_file() else sorted(f for f in folder.rglob("*") if f.is_file())
    return {
        f.relative_to(folder.parent).as_posix(): hashlib.sha256(
            MADE_AT.sub(b"", f.read_bytes())
        ).hexdigest()
        for f in files
    }


def digest_run(run: Path) -> Digests:
    """Digests of a run: weights, answers and their scores, the rows of R, and the log's values."""
    newest = run / "checkpoints" / (run / "checkpoints" / "LATEST").read_text().strip()
    digests: Digests = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in (newest / "weights.safetensors", run / "samples.jsonl", run / "outcomes.npz")
    }
    log = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    digests["log"] = [{k: v for k, v in row.items() if k not in VOLATILE} for row in log]
    digests["rows"] = json.loads((run / "scores.json").read_text())["rows"]
    digests["status"] = json.loads((run / "run.json").read_text())["status"]
    return digests


def digest_sweep(folder: Path) -> Digests:
    """Digests of each run of the sweep in `out`."""
    return {run.name: digest_run(run) for run in sorted((folder / "out").iterdir())}


def train_arguments(inputs: Path, model: str, *more: str) -> list[str]:
    """The arguments of a short run into `out`; the same command resumes it."""
    settings = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
    data = ["--dataset", str(inputs / "data"), "--version", "quarter", "--model", model]
    return ["train", *data, *settings, "--output-dir", "out", *more]


def train_work(method: str, share: int, *, is_fresh: bool = False, ranks: int = 1) -> Work:
    """A run of a method: in a forked process, in fresh processes, or in several ranks."""

    def commands(inputs: Path, folder: Path) -> list[Command]:
        model = "t5-mini" if is_fresh else str(inputs / "toy")
        more = ["--set", f"ngpu={ranks}"] if ranks > 1 else []
        arguments = train_arguments(inputs, model, "--preset", f"t5_{method}", *more)
        return [Command(arguments, folder, {"FKI_HOME": str(folder / "home")}, is_fresh, ranks)]

    return Work(share, commands, lambda folder: digest_run(folder / "out"))


def sweep_commands(inputs: Path, folder: Path) -> list[Command]:
    """Two processes with the same command share one sweep."""
    arguments = train_arguments(
        inputs, str(inputs / "toy"), "--methods", "vanilla,lora,mixreview", "--seeds", "2"
    )
    return [Command(arguments, folder, {"FKI_HOME": str(folder / "home")}) for _ in range(2)]


def output_work(
    share: int, make_arguments: Callable[[Path], Sequence[str]], needs: str = "", *outputs: str
) -> Work:
    """Work whose outputs are compared byte for byte."""

    def commands(inputs: Path, folder: Path) -> list[Command]:
        home = {"FKI_HOME": str(folder / "home")}
        return [Command(make_arguments(inputs), folder, home)]

    def digest(folder: Path) -> Digests:
        return {
            k: v for name in outputs or ("out",) for k, v in digest_files(folder / name).items()
        }

    return Work(share, commands, digest, needs)


def _address(inputs: Path) -> str:
    return (inputs.parent / "address").read_text(encoding="utf-8") + "/templama.tar.gz"


def all_work() -> dict[str, Work]:
    """Every kind by its name."""
    return {
        **{f"train {method}": train_work(method, 70) for method in BUILTIN},
        "train, fresh processes": train_work("lora", 15, is_fresh=True),
        "train, two ranks": train_work("vanilla", 30, ranks=2),
        "sweep, two processes": Work(120, sweep_commands, digest_sweep),
        "download of tables": output_work(
            100,
            lambda inputs: [
                *("download", "mine", "--from", str(inputs / "tables"), "--output", "out"),
                *("--columns", COLUMNS),
            ],
        ),
        "download of a dump": output_work(
            100,
            lambda inputs: [
                *("download", "wiki", str(inputs / "dump.json.bz2"), "--from", "dump"),
                *(*WINDOW, "--workers", "2", "--output", "out"),
            ],
        ),
        "download of an archive": output_work(
            90,
            lambda inputs: [
                *("download", "templama", "--from", _address(inputs), "--output", "out"),
            ],
            "server",
        ),
        "export": output_work(
            20, lambda inputs: ["export", str(inputs / "runs" / "lora"), "--output", "out"], "run"
        ),
        "compare": output_work(
            35,
            lambda inputs: [
                *("compare", str(inputs / "runs")),
                *("--html", "page.html", "--figures", "figures"),
            ],
            "run",
            "page.html",
            "figures",
        ),
    }
