"""Where Prefect and MLflow keep what they know: two SQLite files of the store, or three databases of PostgreSQL."""

import shutil
import sqlite3
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from flows import credentials, postgres, servers

if TYPE_CHECKING:
    from flows.profiles import Place

PREFECT, MLFLOW, ACCOUNTS = "prefect", "mlflow", "accounts"
# The runs that held slots when a database was dumped hold none in what is made of it; Prefect frees a slot by its lease
# alone, and the leases are files of the machine that it was dumped on.
FREE_SLOTS = "update concurrency_limit_v2 set active_slots = 0"


class Databases(Protocol):
    """One kind of database. `purposes` are of those above; accounts are MLflow's users, with hashed passwords."""

    def prefect_environment(self, place: "Place") -> dict[str, str]:
        """What tells Prefect's server where its database is."""

    def mlflow_uri(self, place: "Place") -> str:
        """What MLflow's server is to use, with the password."""

    def prepare(self, place: "Place", purposes: Iterable[str]) -> None:
        """Makes what is missing."""

    def dump(self, place: "Place", purposes: Iterable[str], folder: Path) -> None:
        """Writes `folder/<purpose>` of those that there are: one consistent picture each, though servers use them."""

    def load(self, place: "Place", folder: Path, before: Collection[Path], now: Path) -> None:
        """Fills a new store's databases from a dump, all or none, unless it is ended between the commits at its end.

        Artifacts that lay below one of the paths `before` lie below `now`.
        """

    def stores_named(self, folder: Path) -> set[Path]:
        """The paths by which the addresses of a dump's MLflow name stores; none where a server resolves them."""


class Sqlite:
    def path(self, root: Path, purpose: str) -> Path:
        return {PREFECT: root / "prefect" / "prefect.db", MLFLOW: root / "mlflow.db"}[purpose]

    def prefect_environment(self, place: "Place") -> dict[str, str]:
        return {}  # Prefect's default is a file in PREFECT_HOME

    def mlflow_uri(self, place: "Place") -> str:
        return f"sqlite:///{self.path(place.root, MLFLOW)}"

    def prepare(self, place: "Place", purposes: Iterable[str]) -> None:
        from minimind.registry import tracking

        if MLFLOW in purposes:
            tracking.initialise(self.mlflow_uri(place), place.root)

    def dump(self, place: "Place", purposes: Iterable[str], folder: Path) -> None:
        for purpose in (PREFECT, MLFLOW):
            path = self.path(place.root, purpose)
            if purpose in purposes and path.exists():
                address = f"{path.absolute().as_uri()}?mode=ro"
                with (
                    closing(sqlite3.connect(address, uri=True, timeout=60)) as source,
                    closing(sqlite3.connect(folder / purpose)) as copy,
                ):
                    source.backup(copy)

    def load(self, place: "Place", folder: Path, before: Collection[Path], now: Path) -> None:
        for purpose in (PREFECT, MLFLOW):
            if (folder / purpose).exists():
                path = self.path(place.root, purpose)
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(folder / purpose, path)
                if purpose == PREFECT:
                    with closing(sqlite3.connect(path)) as prefect:
                        prefect.execute(FREE_SLOTS)
                        prefect.commit()
        if self.path(place.root, MLFLOW).exists():
            from minimind.registry.relocation import move_artifacts

            move_artifacts(self.mlflow_uri(place), before, now)

    def stores_named(self, folder: Path) -> set[Path]:
        from minimind.registry.relocation import stores_named

        return stores_named(f"sqlite:///{folder / MLFLOW}") if (folder / MLFLOW).exists() else set()


class PostgreSql:
    def prefect_environment(self, place: "Place") -> dict[str, str]:
        return {"PREFECT_API_DATABASE_CONNECTION_URL": place.postgres.url("asyncpg", PREFECT)}

    def mlflow_uri(self, place: "Place") -> str:
        return place.postgres.url("psycopg", MLFLOW)

    def prepare(self, place: "Place", purposes: Iterable[str]) -> None:
        for purpose in purposes:
            postgres.create_missing(place.postgres, purpose)

    def dump(self, place: "Place", purposes: Iterable[str], folder: Path) -> None:
        with self._reachable(place) as server:
            for purpose in purposes:
                if postgres.has_database(server, purpose):
                    postgres.dump(server, purpose, folder / purpose)

    def stores_named(self, folder: Path) -> set[Path]:
        return set()

    def load(self, place: "Place", folder: Path, before: Collection[Path], now: Path) -> None:
        with self._reachable(place) as server, ExitStack() as transactions:
            dumps = sorted(folder.iterdir())
            for dumped in dumps:
                postgres.create_missing(server, dumped.name)
                postgres.refuse_filled(server, dumped.name)
            for dumped in dumps:
                then = f"set search_path to public; {FREE_SLOTS};" if dumped.name == PREFECT else ""
                transactions.enter_context(postgres.loaded(server, dumped.name, dumped, then))

    @contextmanager
    def _reachable(self, place: "Place") -> Iterator[postgres.Postgres]:
        """The server, as it is where it is up or not ours; else a cluster of our own is started for the while."""
        if place.setup.postgres or "PostgreSQL" in servers.running_servers(place.root):
            yield place.postgres
        else:
            with postgres.running_cluster(place.root, place.credentials[credentials.POSTGRES_PASSWORD]) as server:
                yield server
