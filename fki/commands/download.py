"""`fki download`: fetches or builds a dataset, verifies it and shows its contents."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fki.commands._completion import complete_dataset, complete_model
from fki.commands._console import Show
from fki.commands._dataset_view import (
    VERSIONS,
    DownloadProgress,
    check_folder,
    describe,
    describe_probes,
    list_datasets,
    suggest_probes,
    suggest_training,
    verify_all,
)
from fki.commands._options import Json
from fki.core.errors import ConfigError, Interrupted
from fki.core.formatting import format_command
from fki.core.paths import expand_path

if TYPE_CHECKING:
    from fki.sources.request import DownloadRequest

WIKIMEDIA = "Wikidata and Wikipedia: wiki --from wikidata | dump, wikipedia"
WIKIDATA = "Wikidata: wiki --from wikidata | dump"
QUERY_SERVICE = "Wikidata query service: wiki --from wikidata"
DUMP = "Wikidata dump: wiki FILE --from dump"
WIKIPEDIA = "Wikipedia: wikipedia [--from OLD NEW]"
BENCHMARKS = "Benchmarks and tables: ckl, zsre ..., hub:owner/name"
TABLES = "Tables and Hub: hub:owner/name, or NAME --from FOLDER"
CHECKS = "Lists and checks"

EPILOG = """Examples:

fki download wiki

fki download wiki --from wikidata --since 2026-01-01 --contact you@example.org

fki download templama --from hub:Yova/templama

fki download hub:owner/name --columns subject=s,relation=r,object=o,date=d
"""


def _option(
    help: str, panel: str, metavar: str | None = None, min: float | None = None
) -> typer.models.OptionInfo:
    """An option that the sources of one help panel read."""
    return typer.Option(
        help=help, rich_help_panel=panel, metavar=metavar, show_default=False, min=min
    )


def download(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A known dataset (see --list), wikipedia, or hub:owner/name.",
            autocompletion=complete_dataset,
        ),
    ] = None,
    places: Annotated[
        list[str] | None, typer.Argument(help="More files or addresses, after that of --from.")
    ] = None,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="wikidata, dump, a folder, a file, an archive, hub:owner/name, or an address; "
            "#sha256=... at its end verifies the file.",
            metavar="PLACE",
        ),
    ] = None,
    output: Annotated[
        str | None, typer.Option(help="A new folder, instead of fki's own.", metavar="FOLDER")
    ] = None,
    as_json: Json = False,
    since: Annotated[str, _option("First day. Default: last month.", WIKIMEDIA, "DATE")] = "",
    until: Annotated[str, _option("First day after the window.", WIKIMEDIA, "DATE")] = "",
    limit: Annotated[
        int, _option("At most N changes of each relation, or N articles.", WIKIMEDIA, "N", min=0)
    ] = 0,
    contact: Annotated[
        str,
        _option(
            "Your e-mail or page, required by Wikimedia; or set FKI_CONTACT.", WIKIMEDIA, "TEXT"
        ),
    ] = "",
    workers: Annotated[
        int, _option("Processes that read dumps. Default: cores - 1.", WIKIMEDIA, "N", min=0)
    ] = 0,
    relations: Annotated[str, _option("Only these relations.", WIKIDATA, "P6,P35")] = "",
    endpoint: Annotated[
        str, _option("Another SPARQL service with Wikidata's data.", QUERY_SERVICE, "URL")
    ] = "",
    shard: Annotated[str, _option("Read only this part of the dump.", DUMP, "1/8")] = "",
    on: Annotated[
        str,
        _option(
            "Read all parts of the dump on a Ray cluster: ray, or ray://HOST:10001.",
            DUMP,
            "CLUSTER",
        ),
    ] = "",
    shards: Annotated[
        int, _option("With --on: the number of parts. Default: its cores.", DUMP, "N", min=0)
    ] = 0,
    wiki: Annotated[
        str, _option("Which Wikipedia. Default: simplewiki.", WIKIPEDIA, "enwiki")
    ] = "",
    facts: Annotated[
        str, _option("Wikidata facts, for probes about the changed texts.", WIKIPEDIA, "DATASET")
    ] = "",
    mirror: Annotated[str, _option("Another host of Wikimedia's dumps.", WIKIPEDIA, "URL")] = "",
    date: Annotated[str, _option("Date of rows that have none.", BENCHMARKS, "DATE")] = "",
    target: Annotated[
        str,
        _option("zsre: what an edit teaches. Default: alt.", BENCHMARKS, "alt|answers"),
    ] = "",
    as_: Annotated[
        str,
        typer.Option(
            "--as",
            help="ckl: full|small|phases. templama: plain|dated. popqa: plain|popularity. "
            "cfinjectbench: base|stream, of the first period. lama: stream|probes.",
            rich_help_panel=BENCHMARKS,
            metavar="FORM",
            show_default=False,
        ),
    ] = "",
    revision: Annotated[
        str, _option("Branch, tag or commit on the Hub. Default: main.", BENCHMARKS, "TEXT")
    ] = "",
    columns: Annotated[
        str,
        _option(
            "Columns by role: subject=A,relation=B,object=C,date=D, or prompt=,target=,date=, or "
            "text=,date=.",
            TABLES,
            "ROLE=COLUMN,...",
        ),
    ] = "",
    subset: Annotated[
        str, _option("A subset (configuration) of the dataset.", TABLES, "NAME")
    ] = "",
    config: Annotated[str, typer.Option(hidden=True)] = "",
    split: Annotated[str, _option("A split, or several: train+test.", TABLES, "NAME")] = "",
    list_: Annotated[
        bool, typer.Option("--list", help="List the datasets.", rich_help_panel=CHECKS)
    ] = False,
    check_: Annotated[
        str | None,
        typer.Option(
            "--check", help="Check a dataset folder.", metavar="FOLDER", rich_help_panel=CHECKS
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="With --check: the model whose input and output the texts must fit. Default: "
            "t5-mini.",
            metavar="MODEL",
            show_default=False,
            rich_help_panel=CHECKS,
            autocompletion=complete_model,
        ),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Check all downloaded datasets.", rich_help_panel=CHECKS),
    ] = False,
) -> None:
    """Download or build a dataset, verify its checksums and show its contents."""
    show = Show(as_json=as_json)
    if list_:
        return list_datasets(show)
    if verify:
        return verify_all(show)
    if check_ is not None:
        return check_folder(expand_path(check_), model, show)
    if name is None:
        raise ConfigError(
            "No dataset given.", hint="Run: fki download wiki   or: fki download --list"
        )
    if config:
        show.note("Note: --config is now --subset.")
    from fki.sources.build import make_request

    options = {
        "date": date,
        "target": target,
        "as_": as_,
        "columns": columns,
        "subset": subset or config,
        "split": split,
        "revision": revision,
        "since": since,
        "until": until,
        "relations": relations,
        "limit": limit,
        "facts": facts,
        "wiki": wiki,
        "shard": shard,
        "on": on,
        "shards": shards,
        "workers": workers,
        "contact": contact,
        "endpoint": endpoint,
        "mirror": mirror,
    }
    request = make_request(name, from_ or "", tuple(places or ()), options)
    _download(request, output or "", show)


def _download(request: "DownloadRequest", output: str, show: Show) -> None:
    from fki.sources.build import build_dataset, build_shard

    try:
        with DownloadProgress(show) as progress:
            if getattr(request, "shard", ""):
                return _report_shard(build_shard(request, output, progress), show)
            folder, was_here, dropped = build_dataset(request, output, progress)
        for reason, count in sorted(dropped.items(), key=lambda item: -item[1]):
            show.note(f"Skipped {count:,} {'row' if count == 1 else 'rows'}: {reason}.")
        name = str(folder) if output else folder.name
        _report_dataset(name, folder, was_here, show)
    except KeyboardInterrupt:
        raise Interrupted(
            "Stopped. No incomplete dataset was kept.", hint="Run the same command again to resume."
        ) from None


def _report_shard(folder: Path, show: Show) -> None:
    show.note(f"{folder} contains its shard of the dump.")
    show.data(shard=str(folder))
    show.note("When all shards are built, merge them: fki download wiki ALL-SHARDS... --from dump")


def _report_dataset(name: str, folder: Path, was_here: bool, show: Show) -> None:
    """Show where the dataset is, its contents, and the next command."""
    from fki.data import open_dataset
    from fki.data.dataset_folder import has_probes_alone
    from fki.sources.place_dataset import differs_from_embedded

    where = "is already in" if was_here else "is now in"
    show.note(f"{folder.name} {where} {folder} (checksums verified).")
    if was_here and differs_from_embedded(folder):
        show.note(
            f"Note: this version of fki contains another edition of {folder.name}. To use it, move "
            f"{folder} away and run: {format_command('fki', 'download', folder.name)}"
        )
    streams = []
    if has_probes_alone(folder):
        describe_probes(open_dataset.open_probes(name), show)
    else:
        streams = [open_dataset.open_stream(name, version, "sentinel") for version in VERSIONS]
        describe(streams, show)
    card = folder / "README.md"
    show.note(f"Sources, licenses and counts: {card}")
    show.data(dataset=name, folder=str(folder), card=str(card), was_here=was_here)
    if streams:
        suggest_training(name, streams, show)
    else:
        suggest_probes(name, show)
