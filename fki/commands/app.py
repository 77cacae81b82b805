"""The command line: its commands, and the one place that prints errors and sets exit codes."""

import errno
import logging
import sys

import typer

from fki import __version__
from fki.commands import ask, compare, download, eval, export, plan, train
from fki.commands._console import Show
from fki.commands._options import check_option_names
from fki.commands._streams import guard_streams, ignore_empty_size, ignore_interrupts
from fki.core.errors import ConfigError, FkiError

PATH_ERRORS = (errno.ENAMETOOLONG, errno.EACCES)  # of a path that a user typed
MAX_SHOWN = 100  # characters of a path
SUMMARY = "Fast Knowledge Injection: keep a language model's knowledge of the world current."
app = typer.Typer(
    name="fki",
    help=SUMMARY,
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


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"fki {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Show the version."
    ),
    verbose: bool = typer.Option(
        False, "--verbose", "-v", help="Show the log of the library on stderr."
    ),
) -> None:
    """Fast Knowledge Injection: keep a language model's knowledge of the world current."""
    if verbose:
        _show_log()


def _show_log() -> None:
    """Print all messages of the logger `fki` on stderr."""
    from rich.logging import RichHandler

    logger = logging.getLogger("fki")
    if not logger.handlers:
        logger.addHandler(RichHandler(console=Show().err, show_path=False))
    logger.setLevel(logging.DEBUG)


def leave_processes() -> None:
    """End the communication with the processes of a launcher, if there are any.

    Its threads would otherwise end with the interpreter, which they sometimes abort. After an error
    it is left alone: the other processes may wait in it.
    """
    torch = sys.modules.get("torch")  # which most commands do not need
    if torch and torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def main(arguments: list[str] | None = None) -> None:
    """Run the command line. On an error, prints it and exits with its code.

    Args:
        arguments: None: those of the process.
    """
    ignore_empty_size()
    with guard_streams():
        try:
            try:
                check_option_names(sys.argv[1:] if arguments is None else arguments)
                app(args=arguments, prog_name="fki")
            except SystemExit as end:  # so every command ends
                if arguments is None and not end.code:
                    leave_processes()
                raise
            finally:
                if arguments is None:
                    ignore_interrupts()
                sys.stdout.flush()
        except FkiError as error:
            Show().error(str(error), error.hint or "")
            sys.exit(error.exit_code)
        except OSError as error:
            if error.errno not in PATH_ERRORS or not isinstance(error.filename, str):
                raise
            Show().error(f"Cannot open '{error.filename[:MAX_SHOWN]}': {error.strerror}.", "")
            sys.exit(ConfigError.exit_code)
