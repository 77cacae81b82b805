"""The app: one line a command, and the one place where errors become words and exit codes."""

import sys

import typer

from fki import __version__
from fki.commands import ask, compare, download, eval, export, plan, train
from fki.commands._console import Show
from fki.core.errors import FkiError

app = typer.Typer(
    name="fki",
    help="Fast Knowledge Injection: keep a language model's knowledge of the world current.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("download")(download.download)
app.command("plan")(plan.plan)
app.command("train")(train.train)
app.command("eval")(eval.evaluate)
app.command("compare")(compare.compare)
app.command("export")(export.export)
app.command("ask")(ask.ask)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fki {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Show the version."
    ),
) -> None:
    """Fast Knowledge Injection: keep a language model's knowledge of the world current."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line. Exits with the code of the error, where there is one."""
    try:
        app(args=arguments)
    except FkiError as error:
        show = Show()
        show.error(str(error))
        if error.hint:
            show.note(error.hint)
        sys.exit(error.exit_code)
