"""The `minimind` command. Nothing heavy is imported until a command needs it."""

import atexit
import os
import sys
from typing import Annotated

import typer

from flows.commands import domains, models, servers, store

app = typer.Typer(
    name="minimind",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
for commands in (domains, models, servers):
    app.add_typer(commands.app)
app.add_typer(store.app, name="store")


def print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"minimind {version('minimind-flows')}")
        raise typer.Exit()


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Say which version this is")
    ] = False,
) -> None:
    """Small language models of your own text: one YAML in, one registered model out."""


def main() -> None:
    """The entry point: a user's mistake is one sentence and exit code 2, never a traceback."""
    atexit.register(silence_teardown)  # registered first, so it runs last
    app()


def silence_teardown() -> None:
    """Closes stderr to what comes after everything else.

    DuckDB's binding lists a hundred objects as leaked where a daemon thread lives at exit, and Prefect has some.
    """
    if "duckdb" in sys.modules:
        sys.stderr.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


if __name__ == "__main__":
    main()
