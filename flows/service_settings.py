"""`servers/settings.env` of a store: NAME=VALUE lines, in the environment of its services whoever starts them.

What only the shell of an `up` had is gone when another shell, the keeper of a later one or a systemd unit starts a
service again.
"""

import os
from collections.abc import MutableMapping
from pathlib import Path

from dotenv import dotenv_values

from flows.credentials import refuse_readable_by_others
from minimind.errors import ServerError


def settings_path(root: Path) -> Path:
    return root / "servers" / "settings.env"


def take_settings(root: Path, environ: MutableMapping[str, str] = os.environ) -> None:
    """Before what the environment has of the same name; a line without a value counts for nothing.

    Raises ServerError for a file that cannot be read.
    """
    try:
        found = dotenv_values(settings_path(root), interpolate=False)
        environ.update({name: value for name, value in found.items() if value is not None})
    except (OSError, ValueError) as error:
        raise ServerError(f"{settings_path(root)} cannot be read ({error}); it takes lines of NAME=VALUE") from error


def check_settings(root: Path) -> None:
    """Raises ServerError if others may read the file, which is for secrets."""
    if settings_path(root).exists():
        refuse_readable_by_others(settings_path(root))
