"""`minimind run` without an installation: a Prefect server of its own, in a store of its own."""

import json
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from minimind.registry.tracking import tracking_uri
from minimind.store import Store
from tests.flows.domain import Domain
from tests.system.fleeting import kill, naming, words_of
from tests.system.patience import PATIENCE

RUN_SECONDS = 300.0


@dataclass(frozen=True)
class OwnRun(Domain):
    """Of the domain that its config file is named after."""

    @property
    def built(self) -> Store:
        return Store(self.store, self.config.stem)

    @property
    def mlflow_uri(self) -> str:
        return tracking_uri(self.store, {})

    @contextmanager
    def under_way(self, *arguments: str, **settings: str) -> "Iterator[subprocess.Popen[str]]":
        """Its process; however the block ends, nothing of it runs on."""
        process = self.started(*arguments, **settings)
        try:
            yield process
        finally:
            kill(naming(self.store))

    def finish(self, process: "subprocess.Popen[str]", expect: int = 0) -> tuple[str, str]:
        """What a run that was started says on stdout and on stderr until it has ended."""
        out, said = process.communicate(timeout=RUN_SECONDS * PATIENCE)
        assert process.returncode == expect, said[-5000:]
        return out, said

    def stages_of_next(self, until: str) -> dict[str, Any]:
        """The stages of one more run, which succeeds."""
        out, _ = self.finish(self.started("--until", until))
        return dict(json.loads(out)["stages"])

    def processes(self) -> list[list[str]]:
        """The command lines of all that name its store, its server and its training among them."""
        return [words_of(process) for process in naming(self.store)]

    def in_prefect(self, query: str) -> list[str]:
        """The first column of what its database answers; the server is gone with the run."""
        with closing(sqlite3.connect(self.store / "prefect" / "prefect.db")) as database:
            return [str(row[0]) for row in database.execute(query)]
