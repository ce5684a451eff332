"""What `minimind up` is asked for: what the command line names, and for the rest what it was asked for last."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from flows import servers
from flows.profiles import PROFILES, Setup, load_setup
from minimind.errors import ServerError, UserError


def asked_for(root: Path, say: Callable[[str], None], **named: Any) -> Setup:
    """The setup of `minimind up` in the current folder; what is None was not named.

    Says which of the options it goes on with differ from the defaults. Raises UserError for a profile that is none.
    """
    before, named = load_setup(root), {name: value for name, value in named.items() if value not in (None, "")}
    profile = named.get("profile") or (before.profile if before else "local")
    if profile not in PROFILES:
        raise UserError(f"--profile {profile!r} is none; expected {' or '.join(PROFILES)}")
    kept = before.model_dump() if before and before.profile == profile else {}
    port = kept.get("postgres_port")
    if "postgres_port" not in named and not servers.running_servers(root) and not is_free(port):
        kept["postgres_port"] = None  # mostly it was chosen for us, and nobody but the servers has to know it
        say(f"port {port}, which PostgreSQL had, is taken: it gets another")
    setup = Setup(**kept | named | {"profile": profile, "project": Path.cwd()})
    if again := in_words(setup, leave_out=named):
        say(f"as before: {again}")
    return setup


def in_words(setup: Setup, leave_out: Any = ()) -> str:
    """The options that are not the defaults, as they would be typed."""
    chosen = setup.model_dump(exclude={"project", *leave_out}, exclude_defaults=True)
    names = {"allowed_hosts": "allow_host"}
    return " ".join(
        f"--{names.get(name, name).replace('_', '-')} {one}"
        for name, value in chosen.items()
        for one in (value if isinstance(value, tuple) else [value])
    )


def is_free(port: int | None) -> bool:
    try:
        servers.refuse_taken_port(servers.HOST, port or 0)
    except ServerError:
        return False
    return True
