"""`minimind boot-unit`: a systemd unit that has a store up from the start of the machine to its end."""

import os
import sys
from pathlib import Path

from flows.profiles import load_setup, setup_path
from flows.service_settings import settings_path
from minimind.errors import UserError

# `up` returns, so the unit is active once it has; the keeper starts again what dies later.
UNIT = """\
# The store {root}, as `minimind up` last had it up; at the end of the machine its runs write a checkpoint.
# {install}
# Secrets and other settings of the servers: NAME=VALUE lines in {settings}, chmod 600.

[Unit]
Description=minimind, with the store {root} and its servers
RequiresMountsFor={quoted_root}
{after}
[Service]
Type=oneshot
RemainAfterExit=yes
WorkingDirectory={project}
Environment={environment}
EnvironmentFile=-{settings}
# A disk that is not there yet must not be taken for an empty store; it is looked for again each minute.
ExecStartPre=/usr/bin/test -e {setup}
ExecStart={up}
ExecStop={down}
Restart=on-failure
RestartSec=60
TimeoutStopSec=300
# A training that runs out of memory must not take the servers with it.
OOMPolicy=continue

[Install]
WantedBy={target}
"""
AS_ROOT = {
    "install": "To /etc/systemd/system/minimind.service; systemctl enable minimind",
    "after": "Wants=network-online.target\nAfter=network-online.target\n",
    "target": "multi-user.target",
}
AS_USER = {
    "install": "To ~/.config/systemd/user/minimind.service; systemctl --user enable minimind; loginctl enable-linger",
    "after": "",
    "target": "default.target",
}


def boot_unit(root: Path) -> str:
    """For root a unit of the system, else one of the user. Raises UserError where nothing was ever up."""
    setup = load_setup(root)
    if setup is None:
        raise UserError(f"nothing was ever up in {root}; start it once with `minimind up`, whose options are kept")
    if not setup.project.is_dir():
        raise UserError(
            f"the project of {root} was {setup.project}, which is not here; call `minimind up` once from where it is"
        )
    path = os.environ.get("PATH", os.defpath)
    words = [sys.executable, "-m", "flows.cli"]
    return UNIT.format(
        root=escaped(root),
        quoted_root=quoted(str(root)),
        setup=command(str(setup_path(root))),
        project=escaped(setup.project),
        settings=escaped(settings_path(root)),
        environment=f"{quoted(f'PATH={path}')} {quoted(f'HOME={Path.home()}')}",
        up=command(*words, "up", "--store", str(root)),
        down=command(*words, "down", "--store", str(root)),
        **(AS_ROOT if os.geteuid() == 0 else AS_USER),
    )


def command(*words: str) -> str:
    return " ".join(quoted(word).replace("$", "$$") for word in words)


def quoted(word: str) -> str:
    """As systemd.syntax(7) has it."""
    inner = escaped(word).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{inner}"'


def escaped(text: object) -> str:
    return str(text).replace("%", "%%")
