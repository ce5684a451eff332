"""The passwords of a team's servers: generated once, in a file of the store that only its owner may read.

The file holds lines of NAME=value, the variables that Prefect's and MLflow's own clients read among them: a shell takes
them in with `set -a; . store/servers/credentials.env`.
"""

import os
import secrets
import stat
from pathlib import Path

from minimind.errors import ServerError

USER = "minimind"
PREFECT = "PREFECT_API_AUTH_STRING"
MLFLOW_USER, MLFLOW_PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
FLASK_KEY = "MLFLOW_FLASK_SERVER_SECRET_KEY"
POSTGRES_PASSWORD = "MINIMIND_POSTGRES_PASSWORD"
FOR_CLIENTS = (PREFECT, MLFLOW_USER, MLFLOW_PASSWORD)

NAMES = (PREFECT, MLFLOW_USER, MLFLOW_PASSWORD, FLASK_KEY, POSTGRES_PASSWORD)

Credentials = dict[str, str]


def credentials_path(root: Path) -> Path:
    return root / "servers" / "credentials.env"


def load_credentials(root: Path) -> Credentials:
    """By name of the variable; empty where the store has none.

    Raises ServerError if others may read the file, or if it is not what `minimind up` writes.
    """
    path = credentials_path(root)
    try:
        lines = path.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return {}
    refuse_readable_by_others(path)
    found = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    if missing := [name for name in NAMES if not found.get(name)]:
        raise ServerError(
            f"{path} has no {', '.join(missing)}; bring the file back as `minimind up` had written it, or as a backup "
            "made --with-credentials has it"
        )
    return found


def refuse_readable_by_others(path: Path) -> None:
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise ServerError(f"{path} may be read by others; take that away (chmod 600 {path}) and change what it holds")


def ensure_credentials(root: Path, postgres_password: str | None) -> Credentials:
    """What the file holds, or new ones where there is none; that of a PostgreSQL which is not ours is the given."""
    known = load_credentials(root)
    made_up = {
        PREFECT: f"{USER}:{secrets.token_urlsafe(24)}",
        MLFLOW_USER: USER,
        MLFLOW_PASSWORD: secrets.token_urlsafe(24),
        FLASK_KEY: secrets.token_urlsafe(32),
        POSTGRES_PASSWORD: secrets.token_urlsafe(24),
    }
    given = {} if postgres_password is None else {POSTGRES_PASSWORD: postgres_password}
    if (wanted := made_up | known | given) != known:
        _write(credentials_path(root), wanted)
    return wanted


def _write(path: Path, credentials: Credentials) -> None:
    text = "# Made by `minimind up`. Whoever reads this file may do everything.\n"
    text += "".join(f"{name}={value}\n" for name, value in credentials.items())
    write_private(path, text)


def write_private(path: Path, text: str) -> None:
    """Writes a file that only its owner may read, and that is never there half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    temporary.replace(path)
