"""Where a store lies, and which servers a command talks to."""

import os
from pathlib import Path

from minimind.errors import ServerError, UserError

DEFAULT_STORE = Path("store")
DEFAULT_SLOT = "gpu0"


def slot_name(option: str | None = None) -> str:
    """The concurrency limit that trainings queue for: as asked, else MINIMIND_SLOT, else gpu0; empty: none."""
    return os.environ.get("MINIMIND_SLOT", DEFAULT_SLOT) if option is None else option


def store_root(option: str | Path | None = None) -> Path:
    """`--store`, else MINIMIND_STORE, else `store` in the current folder; absolute, without links and `..`."""
    chosen = option or os.environ.get("MINIMIND_STORE") or DEFAULT_STORE
    try:
        root = Path(chosen).expanduser().resolve()
    except RuntimeError as error:
        raise UserError(f"--store {chosen}: {error}; write the path out") from None
    if any(sign in str(root) for sign in "%?"):  # MLflow reads these in addresses of databases and artifacts
        raise UserError(f"--store {root} holds a % or a ?, which MLflow cannot handle in a path; choose another name")
    nearest = next(folder for folder in (root, *root.parents) if folder.exists())
    if not nearest.is_dir():
        raise UserError(f"--store {root} cannot be a folder: {nearest} is a file; choose another place")
    return root


def tracking_uri(root: Path) -> str:
    """Where this store's MLflow is: MLFLOW_TRACKING_URI, else the team's server, else the database in the store."""
    from minimind.registry import tracking

    join_team(root)
    return tracking.tracking_uri(root, os.environ)


def join_team(root: Path) -> None:
    """Sets addresses and passwords where the store's history is behind servers; raises ServerError if they are down.

    Where PREFECT_API_URL names another server, that one hears of runs, and the team's MLflow alone is joined. Who has
    all of it already, as a run of a worker of `minimind up`, is asked nothing: a server may be away for a while.
    """
    from flows.credentials import FOR_CLIENTS
    from flows.profiles import recorded_place
    from flows.servers import running_servers

    place = recorded_place(root)
    if (
        place is None
        or not place.profile.has_auth
        or os.environ.get("MLFLOW_TRACKING_URI", place.mlflow) != place.mlflow
    ):
        return
    joined, needed = place.client_environment(), {"Prefect", "MLflow"}
    if os.environ.get("PREFECT_API_URL", joined["PREFECT_API_URL"]) != joined["PREFECT_API_URL"]:
        joined = {name: value for name, value in joined.items() if name.startswith("MLFLOW_")}
        needed = {"MLflow"}
    if all(os.environ.get(name) == joined[name] for name in ("MLFLOW_TRACKING_URI", *FOR_CLIENTS) if name in joined):
        return
    if missing := needed - running_servers(root).keys():
        raise ServerError(f"this store's {' and '.join(sorted(missing))} is down; `minimind up` starts it")
    os.environ.update(joined)
