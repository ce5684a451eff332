"""The machine, and what is kept up on it. Nothing heavy is imported until a command needs it."""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.commands.options import JsonOption, StoreOption
from flows.commands.plainly import told_plainly

app = typer.Typer()


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


def port_option(words: str) -> Any:
    return typer.Option(min=1, max=65535, help=words, show_default=False)


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
    prefect_port: Annotated[
        int | None, port_option("Of the Prefect server and its pages. Default: as before, else 4200")
    ] = None,
    mlflow_port: Annotated[
        int | None, port_option("Of the MLflow server and its pages. Default: as before, else 5000")
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(
            help="Where both listen; others than loopback only with passwords. Default: as before, else 127.0.0.1",
            show_default=False,
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A name by which browsers reach this machine; may be repeated; '' for none. Default: as before",
            show_default=False,
        ),
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
    postgres_port: Annotated[int | None, port_option("Of that cluster. Default: as before, else a free one")] = None,
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

    Run it where prefect.yaml lies. What is not named is as it was the last time in this store. `minimind status` says
    how all is, `minimind down` stops exactly what this started.

    Examples:

        minimind up

        minimind up --profile team --store /data/store --notify https://chat.example.org/hooks/1

        minimind up --profile team --host 0.0.0.0 --allow-host trainer.example.org

        minimind up --store /data/store --prefect-port 4300 --mlflow-port 5100
    """
    from flows.asked_for import asked_for
    from flows.settings import store_root
    from flows.up import refuse_password, up

    def say(line: str) -> None:
        print(line, flush=True)

    refuse_password(notify)
    root = store_root(store)
    setup = asked_for(
        root, say, profile=profile, postgres=postgres, artifacts=artifacts,
        host=host, prefect_port=prefect_port, mlflow_port=mlflow_port, postgres_port=postgres_port,
        allowed_hosts=tuple(filter(None, allow_host)) if allow_host else None,
    )  # fmt: skip
    up(root, setup, say, notify)


@app.command()
@told_plainly
def deploy(
    notify: Annotated[
        str | None,
        typer.Option(
            metavar="WHERE",
            help="Where failures are told: https://..., TYPE/NAME of a block and more. Default: $MINIMIND_NOTIFY",
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
    from flows.deployments import deploy
    from flows.services import NOTIFY
    from flows.settings import store_root
    from flows.up import refuse_password

    refuse_password(notify)
    for line in deploy(Path.cwd(), notify or os.environ.get(NOTIFY), store_root(store)):
        print(line)


@app.command()
@told_plainly
def down(store: StoreOption = None) -> None:
    """Stop exactly what `minimind up` started. Runs that are under way write a checkpoint, which may take a minute.

    Examples:

        minimind down

        minimind down --store /data/store
    """
    from flows import up
    from flows.settings import store_root

    root = store_root(store)
    ending = up.runs_that_end(root)
    if ending:
        print(f"ends {', '.join(ending)}, which may take a minute; the next run goes on from what is kept", flush=True)
    stopped = up.down(root)
    print(f"stopped {', '.join(stopped)}" if stopped else "nothing was up")


@app.command()
@told_plainly
def boot_unit(store: StoreOption = None) -> None:
    """Print a systemd unit that has the store up whenever the machine is, as `minimind up` last had it.

    For root a unit of the system, else one of the user. Its first lines say where to put it.

    Examples:

        minimind boot-unit > ~/.config/systemd/user/minimind.service

        minimind boot-unit --store /data/store > /etc/systemd/system/minimind.service
    """
    from flows.boot_unit import boot_unit
    from flows.settings import store_root

    print(boot_unit(store_root(store)), end="")


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
    if done["elsewhere"] and not as_json:
        print(f"models that MLflow has in {', '.join(done['elsewhere'])} stay there; they are no part of the backup")
