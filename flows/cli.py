"""The `minimind` command. Nothing heavy is imported until a command needs it."""

import atexit
import json
import os
import shlex
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from minimind.errors import TrainingInterruptedError, UserError

app = typer.Typer(
    name="minimind",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
store_app = typer.Typer(
    no_args_is_help=True,
    help="""What the store keeps, why it was built again, what may go.

    Examples:

        minimind store ls

        minimind store why cleaning --domain legal-de

        minimind store prune --dry-run
    """,
)
app.add_typer(store_app, name="store")

ConfigArgument = Annotated[Path, typer.Argument(help="The domain's YAML", metavar="CONFIG", show_default=False)]
OverridesOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Replaces one value of the YAML; may stand several times"),
]
SourcesOption = Annotated[
    list[str] | None,
    typer.Option("--source", metavar="GLOB", help="Local files instead of the YAML's sources; may stand several times"),
]
RefreshOption = Annotated[bool, typer.Option("--refresh", help="Ask every source anew, frozen file lists included")]
StoreOption = Annotated[
    Path | None,
    typer.Option("--store", help="The store's folder. Default: $MINIMIND_STORE, else ./store", show_default=False),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, everything else on stderr")]
STAGE_NAMES = ("corpus", "cleaning", "tokenizer", "shards", "training", "evaluation", "registry")


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


def told_plainly(command: Callable[..., None]) -> Callable[..., None]:
    """Shows a UserError as its message alone; an interrupted run ends with 130, as shells expect."""

    @wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except UserError as error:
            print(f"minimind: {error}", file=sys.stderr)
            raise typer.Exit(2) from None
        except (KeyboardInterrupt, TrainingInterruptedError):
            print("minimind: stopped; the same command goes on from here", file=sys.stderr)
            raise typer.Exit(130) from None
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(141) from None

    return wrapped


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

    A later `minimind run` reuses what this builds.

    Examples:

        minimind clean configs/demo.yaml

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
    limit: Annotated[int, typer.Option(min=1, help="Show at most so many")] = 10,
    text: Annotated[bool, typer.Option("--text", help="The clean text in full")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="The raw text in full")] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look documents up in a domain's newest cleaning, and see why they went.

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
    reason = reason.replace("-", "_") if reason else None
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
    budget: Annotated[str, typer.Option(help="Of three small trainings together; as training.budget")] = "3m",
    name: Annotated[
        str | None, typer.Option(help="Of the domain. Default: made of the folder's name", show_default=False)
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Write the YAML to go on with to configs/NAME.yaml")] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look at a corpus for ten minutes: its audit, a tiny model of it, and what it supports; as a page.

    A later `minimind run` with the YAML reuses what this builds. The same command again reuses everything.

    Examples:

        minimind explore ~/contracts

        minimind explore ~/contracts --budget 10m --write

        minimind explore configs/legal-en.yaml --json
    """
    from flows.explore_command import explore

    explore(target, budget, name, write, store, as_json)


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
        str | None, typer.Option(help="Of each training. Default: the config's, 20 minutes at most", show_default=False)
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


@app.command()
@told_plainly
def doctor(store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Versions, device, memory, disk and servers, and what is wrong with them.

    Examples:

        minimind doctor

        minimind doctor --store /data/store --json
    """
    from flows.doctor import examine

    raise typer.Exit(0 if examine(store, as_json) else 1)


@app.command()
@told_plainly
def up(
    profile: Annotated[
        str | None,
        typer.Option(
            metavar="PROFILE",
            help="local (SQLite, no passwords) or team (PostgreSQL, passwords). Default: as before, else local",
            show_default=False,
        ),
    ] = None,
    store: StoreOption = None,
    prefect_port: Annotated[int, typer.Option(min=1, max=65535, help="Of the Prefect server and its pages")] = 4200,
    mlflow_port: Annotated[int, typer.Option(min=1, max=65535, help="Of the MLflow server and its pages")] = 5000,
    host: Annotated[
        str, typer.Option(help="Where both listen; others than loopback only with passwords")
    ] = "127.0.0.1",
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A name by which browsers reach this machine; may stand several times"),
    ] = None,
    postgres: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="postgresql://USER@HOST/NAME, its password in MINIMIND_POSTGRES_URL or PGPASSWORD. "
            "Default: a cluster of the store's own",
            show_default=False,
        ),
    ] = None,
    postgres_port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Of that cluster. Default: a free one", show_default=False),
    ] = None,
    artifacts: Annotated[
        str | None,
        typer.Option(
            metavar="s3://BUCKET/PREFIX",
            help="Where MLflow keeps models, with AWS_* and MLFLOW_S3_ENDPOINT_URL. Default: in the store",
            show_default=False,
        ),
    ] = None,
    notify: Annotated[
        str | None,
        typer.Option(
            metavar="WHERE",
            help="Where failures are told, as `minimind deploy` takes it; team only. Default: $MINIMIND_NOTIFY",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Start Prefect, MLflow, the deployments of prefect.yaml and a worker on this machine.

    Run it where prefect.yaml lies. `minimind status` says how all is, `minimind down` stops exactly what this started.

    Examples:

        minimind up

        minimind up --profile team --store /data/store --notify https://chat.example.org/hooks/1

        minimind up --profile team --host 0.0.0.0 --allow-host trainer.example.org

        minimind up --store /data/store --prefect-port 4300 --mlflow-port 5100
    """
    from flows import profiles
    from flows.settings import store_root
    from flows.up import up

    root = store_root(store)
    before = profiles.load_setup(root)
    chosen = profile or (before.profile if before else "local")
    if chosen not in profiles.PROFILES:
        raise UserError(f"--profile {chosen!r} is none; expected {' or '.join(profiles.PROFILES)}")
    if notify and chosen != "team":
        raise UserError(
            "--notify needs --profile team: Prefect on SQLite answers automations with `database is locked`"
        )
    if notify:
        os.environ["MINIMIND_NOTIFY"] = notify
    kept = before if before and before.profile == chosen else None
    setup = profiles.Setup(
        profile=chosen,
        project=Path.cwd(),
        host=host,
        prefect_port=prefect_port,
        mlflow_port=mlflow_port,
        allowed_hosts=tuple(allow_host or ()),
        postgres=postgres or (kept.postgres if kept else None),
        postgres_port=postgres_port,
        artifacts=artifacts or (kept.artifacts if kept else None),
    )
    up(root, setup, lambda line: print(line, flush=True))


@app.command()
@told_plainly
def deploy(
    notify: Annotated[
        str | None,
        typer.Option(
            metavar="WHERE",
            help="Where failures are told: https://..., mailto://... or TYPE/NAME of a block; also MINIMIND_NOTIFY",
            envvar="MINIMIND_NOTIFY",
            show_default=False,
        ),
    ] = None,
    store: StoreOption = None,
) -> None:
    """Deploy prefect.yaml to the server of PREFECT_API_URL, or to the one that `minimind up` started.

    What was renamed or removed in the file is removed on the server. With --notify, failed, crashed, late and vanished
    runs and refused models are told to a webhook or by e-mail.

    Examples:

        minimind deploy

        PREFECT_API_URL=http://prefect.example.org/api minimind deploy --notify https://chat.example.org/hooks/1
    """
    from flows.deploying import deploy

    deploy(Path.cwd(), notify, store)


@app.command()
@told_plainly
def down(store: StoreOption = None) -> None:
    """Stop exactly what `minimind up` started. Runs that are under way write a checkpoint and end.

    Examples:

        minimind down

        minimind down --store /data/store
    """
    from flows import up
    from flows.settings import store_root

    root = store_root(store)
    ending = up.runs_that_end(root)
    if ending:
        print(f"ends {', '.join(ending)}: the next run goes on from what is kept", flush=True)
    stopped = up.down(root)
    print(f"stopped {', '.join(stopped)}" if stopped else "nothing was up")


@app.command()
@told_plainly
def status(store: StoreOption = None, as_json: JsonOption = False) -> None:
    """How the services are, which runs are under way, what runs next, and how each domain's last run ended.

    Exit code 1 if something that should be up is not.

    Examples:

        minimind status

        minimind status --store /data/store --json
    """
    from flows.status import show

    raise typer.Exit(0 if show(store, as_json) else 1)


@app.command()
@told_plainly
def backup(
    path: Annotated[Path, typer.Argument(metavar="FILE.tar.zst", help="The archive to write", show_default=False)],
    with_credentials: Annotated[
        bool, typer.Option("--with-credentials", help="Passwords too, and MLflow's users; keep the file as one of them")
    ] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write store, MLflow and Prefect into one checksummed file, while they run.

    Examples:

        minimind backup /backups/2026-11-29.tar.zst

        minimind backup /backups/all.tar.zst --store /data/store --with-credentials
    """
    from flows.backup import back_up
    from flows.settings import store_root

    done = back_up(store_root(store), path.expanduser().absolute(), with_credentials)
    if as_json:
        print(json.dumps(done))
        return
    print(f"{done['path']}: {done['files']:,} files, {done['bytes'] / 1e6:,.1f} MB")
    if done["artifacts_elsewhere"]:
        print(f"MLflow's artifacts stay in {done['artifacts_elsewhere']}, and are not in it")


@app.command()
@told_plainly
def restore(
    path: Annotated[Path, typer.Argument(metavar="FILE.tar.zst", help="What `backup` wrote", show_default=False)],
    store: StoreOption = None,
    postgres: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="For a team's store: where its databases are to be. Default: a cluster of the store's own",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a store of a backup, in a folder that is empty or not there yet.

    Examples:

        minimind restore /backups/2026-11-29.tar.zst --store /data/restored
    """
    from flows.backup import restore
    from flows.settings import store_root

    done = restore(path.expanduser().absolute(), store_root(store), postgres)
    print(json.dumps(done) if as_json else f"{done['store']}: the {done['profile']} store as of {done['created_at']}")


@store_app.command("ls")
@told_plainly
def store_ls(store: StoreOption = None, as_json: JsonOption = False) -> None:
    """List what is kept, by stage.

    Examples:

        minimind store ls

        minimind store ls --store /data/store --json
    """
    from flows.store_views import list_builds

    list_builds(store, as_json)


@store_app.command("why")
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


@store_app.command("prune")
@told_plainly
def store_prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List only")] = False,
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Interrupted trainings too, which a run would otherwise continue")
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


if __name__ == "__main__":
    main()
