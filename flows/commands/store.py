"""What the store keeps. Nothing heavy is imported until a command needs it."""

from typing import Annotated

import typer

from flows.commands.options import STAGE_NAMES, JsonOption, StoreOption
from flows.commands.plainly import told_plainly
from minimind.errors import UserError

app = typer.Typer(
    no_args_is_help=True,
    help="""What the store keeps, why it was built again, what may go.

    Examples:

        minimind store ls

        minimind store why cleaning --domain legal-de

        minimind store prune --dry-run
    """,
)


@app.command("ls")
@told_plainly
def store_ls(store: StoreOption = None, as_json: JsonOption = False) -> None:
    """List what is kept, by stage.

    Examples:

        minimind store ls

        minimind store ls --store /data/store --json
    """
    from flows.store_views import list_builds

    list_builds(store, as_json)


@app.command("why")
@told_plainly
def store_why(
    stage: Annotated[str, typer.Argument(help=f"One of: {', '.join(STAGE_NAMES)}", show_default=False)],
    domain: Annotated[str | None, typer.Option(help="The config's name; needed if the store holds several")] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say which part of a stage's fingerprint changed between its last two builds.

    Examples:

        minimind store why cleaning

        minimind store why training --domain legal-de
    """
    from flows.store_views import explain_build

    if stage not in STAGE_NAMES:
        raise UserError(f"{stage!r} is no stage; the stages are {', '.join(STAGE_NAMES)}")
    explain_build(stage, domain, store, as_json)


@app.command("prune")
@told_plainly
def store_prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List only")] = False,
    unfinished: Annotated[
        bool,
        typer.Option(
            "--unfinished", help="Interrupted trainings of the last 40 days too, which a run would otherwise continue"
        ),
    ] = False,
    keep_versions: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            show_default=False,
            help="Also what was built for versions without an alias, but for the N newest of each domain; they stay in "
            "MLflow and cannot be reproduced then. Default: all are kept",
        ),
    ] = None,
    document: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="Every build that holds this document, too; its models cannot be reproduced then"
        ),
    ] = None,
    domain: Annotated[str | None, typer.Option(help="Whose document, if several domains have one of this id")] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove builds that no registered model and no newest build needs, and what killed runs left.

    Examples:

        minimind store prune --dry-run

        minimind store prune --unfinished

        minimind store prune --keep-versions 5

        minimind store prune --document contracts/2019/114.docx
    """
    from flows.store_views import prune_builds

    prune_builds(dry_run, unfinished, keep_versions, document, domain, store, as_json)
