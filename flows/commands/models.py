"""What one does with registered models. Nothing heavy is imported until a command needs it."""

from typing import Annotated

import typer

from flows.commands.options import STAGE_NAMES, ConfigArgument, JsonOption, OverridesOption, SourcesOption, StoreOption
from flows.commands.plainly import told_plainly
from minimind.errors import UserError

app = typer.Typer()


@app.command()
@told_plainly
def generate(
    model: Annotated[str, typer.Argument(help="models:/name@champion, models:/name/3 or a folder", show_default=False)],
    prompt: Annotated[str, typer.Argument(help="The beginning to continue")] = "",
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Same seed, same text")] = 1,
    temperature: Annotated[float, typer.Option(min=0, help="0 takes the likeliest token each time")] = 0.8,
    top_p: Annotated[float, typer.Option(min=0.01, max=1, help="Draw from the likeliest tokens of this total")] = 0.95,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Stop after this many")] = 200,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Continue a prompt, streamed as it is drawn.

    Examples:

        minimind generate models:/software-licences@champion "Permission is hereby"

        minimind generate store/training/0123456789abcdef/model "This licence" --temperature 0
    """
    from flows.generate import stream_text

    stream_text(
        model, prompt, store, as_json,
        seed=seed, temperature=temperature, top_p=top_p, max_new_tokens=max_new_tokens,
    )  # fmt: skip


@app.command()
@told_plainly
def compare(
    name: Annotated[str, typer.Argument(help="The registered model, which has the domain's name", show_default=False)],
    versions: Annotated[
        str,
        typer.Option(
            metavar="N,M", help="Two or more; the others are held against the first. Default: the champion, the newest"
        ),
    ] = "",
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare registered versions on the same documents; writes comparison.html.

    Examples:

        minimind compare software-licences

        minimind compare legal-en --versions 3,4 --json
    """
    from flows.compare_command import compare

    compare(name, [number.strip() for number in versions.split(",") if number.strip()], store, as_json)


@app.command()
@told_plainly
def seeds(
    config: ConfigArgument,
    n: Annotated[int, typer.Option("--n", min=2, help="Trainings, the config's own seed among them")] = 3,
    budget: Annotated[
        str | None,
        typer.Option(help="Of each training, no more than the config's; if not given, that or 20m", show_default=False),
    ] = None,
    overrides: OverridesOption = None,
    sources: SourcesOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train one config with several seeds, and keep how much they differ for every later comparison.

    Examples:

        minimind seeds configs/demo.yaml --n 3

        minimind seeds configs/legal-en.yaml --n 4 --budget 10m
    """
    from flows.seeds_command import measure

    measure(config, overrides or [], sources or [], n, budget, store, as_json)


@app.command()
@told_plainly
def promote(
    name: Annotated[str, typer.Argument(help="The registered model", show_default=False)],
    version: Annotated[str, typer.Argument(help="The version to use from now on", show_default=False)],
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a version champion, whatever the gate has said of it.

    Examples:

        minimind promote legal-en 4
    """
    from flows.promotion import promote

    promote(name, version, store, as_json)


@app.command()
@told_plainly
def rollback(
    name: Annotated[str, typer.Argument(help="The registered model", show_default=False)],
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the champion before this one champion again.

    Examples:

        minimind rollback legal-en
    """
    from flows.promotion import rollback

    rollback(name, store, as_json)


@app.command()
@told_plainly
def lineage(
    model: Annotated[
        str | None,
        typer.Argument(help="NAME (its champion), NAME@ALIAS, NAME/3 or models:/NAME/3", show_default=False),
    ] = None,
    document: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Which versions were trained on this document; of MODEL, or of all models"),
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a registered model was made from, down to the sources; or what became of a document in each version.

    Examples:

        minimind lineage contracts

        minimind lineage models:/contracts/3 --json

        minimind lineage --document contracts/2019/114.docx
    """
    from flows.lineage import show_document, show_lineage

    if document is not None:
        show_document(document, model, store, as_json)
    elif model is not None:
        show_lineage(model, store, as_json)
    else:
        raise UserError("name a model, as in `minimind lineage NAME`, or a document with --document")


@app.command()
@told_plainly
def reproduce(
    model: Annotated[
        str, typer.Argument(help="NAME (its champion), NAME@ALIAS, NAME/3 or models:/NAME/3", show_default=False)
    ],
    until: Annotated[
        str | None, typer.Option(metavar="STAGE", help=f"Stop after one of: {', '.join(STAGE_NAMES[:-1])}")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave what was built in the store, for a closer look")] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a registered model again from its raw corpus and plan, and say of each stage whether its bytes are the same.

    Takes as long as the training took. Exit code 0 if all is the same, 1 if not.

    Examples:

        minimind reproduce contracts

        minimind reproduce models:/contracts/3 --until shards
    """
    from flows.reproduce import reproduce

    if until is not None and until not in STAGE_NAMES[:-1]:
        raise UserError(f"--until {until!r} is no stage; the stages are {', '.join(STAGE_NAMES[:-1])}")
    raise typer.Exit(0 if reproduce(model, until, keep, store, as_json) else 1)
