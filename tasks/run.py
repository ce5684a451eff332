"""What the tasks of one retraining share; nothing of Prefect, so that `minimind plan` can do without."""

from dataclasses import dataclass, field

from minimind.config import Config
from minimind.registry.parent import Ancestor
from minimind.store import Manifest, Store


@dataclass(frozen=True)
class Run:
    """One retraining: what its tasks need, and what they have built so far."""

    config: Config
    store: Store
    tracking_uri: str
    refresh: bool = False  # ask every source anew
    champions: tuple[Ancestor, ...] = ()  # at the start of the run, where the config goes on from one
    runner: str = "threads"  # where parts are worked on; shapes no result
    slot: str = ""  # the concurrency limit of which a training takes a slot; empty: none
    built: dict[str, Manifest] = field(default_factory=dict)
