"""What one does with a domain's YAML: look, plan, clean, run. Nothing heavy is imported until a command needs it."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from flows.commands.options import (
    STAGE_NAMES,
    ConfigArgument,
    JsonOption,
    OverridesOption,
    RefreshOption,
    SourcesOption,
    StoreOption,
)
from flows.commands.plainly import told_plainly
from minimind.errors import UserError

app = typer.Typer()


@app.command()
@told_plainly
def run(
    config: ConfigArgument,
    overrides: OverridesOption = None,
    sources: SourcesOption = None,
    until: Annotated[
        str | None, typer.Option(metavar="STAGE", help=f"Stop after one of: {', '.join(STAGE_NAMES)}")
    ] = None,
    refresh: RefreshOption = False,
    runner: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Where parts of the work run: threads, processes, dask, ray, dask:tcp://HOST:8786 or "
            "ray://HOST:10001. Default: $MINIMIND_TASK_RUNNER, else threads",
            show_default=False,
        ),
    ] = None,
    when_due: Annotated[
        bool,
        typer.Option("--when-due", help="Train only if the YAML's retrain_when says so, as a deployment's runs do"),
    ] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Retrain a domain: only the stages whose config, input or code changed.

    Examples:

        minimind run configs/demo.yaml

        minimind run configs/legal-de.yaml --source 'laws/*.jsonl.gz' --set training.budget=2h

        minimind run configs/demo.yaml --until cleaning --json

        minimind run configs/legal-en.yaml --runner dask:tcp://10.0.0.5:8786

        minimind run configs/legal-de.yaml --when-due
    """
    from flows.retrain_command import run

    if until is not None and until not in STAGE_NAMES:
        raise UserError(f"--until {until!r} is no stage; the stages are {', '.join(STAGE_NAMES)}")
    run(config, overrides or [], sources or [], until, refresh, runner, when_due, store, as_json)


@app.command()
@told_plainly
def clean(
    config: ConfigArgument,
    overrides: OverridesOption = None,
    sources: SourcesOption = None,
    refresh: RefreshOption = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read and clean a domain's corpus, and no more; writes the audit of what was removed and why.

    A later `minimind run` reuses what this builds. Cleaning takes half of the machine's memory for DuckDB, or what
    MINIMIND_MEMORY says, in every command.

    Examples:

        minimind clean configs/demo.yaml

        MINIMIND_MEMORY=4GB minimind clean configs/demo.yaml

        minimind clean configs/legal-en.yaml --source 'laws/*.jsonl.gz' --set cleaning.near_duplicates.max_jaccard=0.9
    """
    from flows.clean import clean

    clean(config, overrides or [], sources or [], refresh, store, as_json)


@app.command()
@told_plainly
def plan(
    config: ConfigArgument,
    overrides: OverridesOption = None,
    sources: SourcesOption = None,
    refresh: RefreshOption = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what training would be: model, tokens, steps, minutes, bits per byte, cost. Nothing is trained.

    Builds the stages up to the shards and measures how fast this machine trains; a later `minimind run` reuses both.

    Examples:

        minimind plan configs/demo.yaml

        minimind plan configs/legal-en.yaml --set training.preset=auto --set training.price_per_hour=2.5
    """
    from flows.plan import plan

    plan(config, overrides or [], sources or [], refresh, store, as_json)


@app.command()
@told_plainly
def documents(
    config: ConfigArgument,
    reason: Annotated[
        str | None,
        typer.Argument(help="Only what this step or reason removed, for example near_duplicate", show_default=False),
    ] = None,
    removed: Annotated[bool, typer.Option("--removed", help="Only removed documents")] = False,
    kept: Annotated[bool, typer.Option("--kept", help="Only kept documents")] = False,
    document_id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="This document: its fate, its cluster, what changed")
    ] = None,
    like: Annotated[
        str, typer.Option(metavar="WORDS", help="Only documents with all of these words, the best match first")
    ] = "",
    source: Annotated[str | None, typer.Option(metavar="NAME", help="Only documents of this source")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="Show at most so many")] = 10,
    text: Annotated[bool, typer.Option("--text", help="The clean text in full")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="The raw text in full")] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look documents up in the cleaning that the domain last used, and see why they went.

    Examples:

        minimind documents configs/demo.yaml --removed near_duplicate --like "without warranty"

        minimind documents configs/demo.yaml --kept --source debian --limit 3

        minimind documents configs/demo.yaml --id debian/common-licenses/GPL-3 --raw --text
    """
    from flows.documents import look_up
    from minimind.audit.documents import Wanted

    if kept and (removed or reason):
        raise UserError("--kept and --removed exclude each other, and what is kept has no reason; choose one")
    if document_id and (kept or removed or reason or like or source):
        raise UserError("--id names one document; leave --kept, --removed, --like and --source out beside it")
    reason = reason.replace("-", "_").replace(" ", "_") if reason else None  # as tables and pages show it
    wanted = Wanted(True if removed or reason else False if kept else None, reason, source, like)
    texts = [name for name, asked in (("raw", raw), ("clean", text)) if asked]
    look_up(config, wanted, document_id, limit, texts, store, as_json)


@app.command()
@told_plainly
def new(
    name: Annotated[str, typer.Argument(help="Name of the domain and of its model: lower case, digits, dashes")],
    origin: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="PATH_OR_URL",
            help="A folder, file, glob, web address, git URL, s3://bucket or hf://dataset",
        ),
    ],
    quality: Annotated[
        str, typer.Option(metavar="PRESET", help="Thresholds to write: legal, general, code-docs or published")
    ] = "general",
    store: StoreOption = None,
) -> None:
    """Write a complete, commented configs/NAME.yaml for your own corpus.

    Examples:

        minimind new contracts --from ~/contracts

        minimind new laws --from https://example.org/laws.tar.gz

        minimind new cases --from hf://common-pile/caselaw_access_project
    """
    from flows.new_config import write_config
    from flows.summary import program

    path = write_config(name, origin, Path("configs"), quality)
    option = f" --store {shlex.quote(str(store))}" if store else ""
    print(f"wrote {path}; read it through, then:\n\n    {program()} run {path}{option}\n")


@app.command()
@told_plainly
def explore(
    target: Annotated[
        str,
        typer.Argument(
            metavar="PATH_OR_CONFIG",
            help="A folder of text, or all else that `minimind new --from` takes; or a domain's YAML",
            show_default=False,
        ),
    ],
    overrides: OverridesOption = None,
    budget: Annotated[str, typer.Option(help="Of three small trainings together; as training.budget")] = "3m",
    name: Annotated[
        str | None, typer.Option(help="Of the domain. Default: made of the folder's name", show_default=False)
    ] = None,
    refresh: RefreshOption = False,
    write: Annotated[bool, typer.Option("--write", help="Write the YAML to go on with to configs/NAME.yaml")] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look at a corpus for ten minutes: its audit, a tiny model of it, and what it supports; as a page.

    A later `minimind run` with the YAML reuses what this builds. The same command again reuses everything.

    Examples:

        minimind explore ~/contracts

        minimind explore ~/contracts --budget 10m --write

        minimind explore configs/legal-en.yaml --set cleaning.near_duplicates.max_jaccard=0.9 --json
    """
    from flows.explore_command import explore

    explore(target, overrides or [], budget, name, refresh, write, store, as_json)
