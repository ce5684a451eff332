"""What the keeper tells `minimind status`: a file that it writes when something changes, and touches at each look."""

import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from flows.servers import read_as, write_json
from minimind.errors import ServerError

SILENT_SECONDS = 120.0  # of a keeper that hangs: a look at servers that do not answer takes half a minute


@dataclass(frozen=True)
class KeeperState:
    failing: list[str] = field(default_factory=list)  # services that are tried now and then only
    said: dict[str, str] = field(default_factory=dict)  # service -> what became of it; keeper -> why its looks fail


def state_path(root: Path) -> Path:
    return root / "servers" / "keeper.json"


def load_state(root: Path) -> KeeperState:
    """What was told last; nothing, where that is of another version: the next look tells it anew."""
    with suppress(ServerError):
        return read_as(KeeperState, state_path(root), "it is written anew") or KeeperState()
    return KeeperState()


def save_state(root: Path, state: KeeperState) -> None:
    write_json(state_path(root), asdict(state))


def is_looking(root: Path, keeper: str) -> bool:
    """Whether the keeper has looked lately, and its last look did not fail."""
    try:
        silent = time.time() - state_path(root).stat().st_mtime
    except FileNotFoundError:
        return False
    return silent < SILENT_SECONDS and keeper not in load_state(root).said
