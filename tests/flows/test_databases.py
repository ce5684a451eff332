"""A team's databases, moved from one PostgreSQL server to another place on it: all of them or none."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from postgres import postgres_cluster

from flows.databases import ACCOUNTS, MLFLOW, PREFECT, PostgreSql
from flows.postgres import Postgres
from flows.profiles import Place, Setup
from flows.servers import free_port
from minimind.errors import ServerError

PURPOSES = (ACCOUNTS, MLFLOW, PREFECT)
ROWS = 20_000  # more than a pipe holds


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    port = free_port()
    with postgres_cluster(port):
        yield port


def place(port: int, root: Path, name: str) -> Place:
    address = f"postgresql://tests@127.0.0.1:{port}/{name}"
    return Place(root, Setup(profile="team", project=root, postgres=address), {})


def rows(server: Postgres, purpose: str) -> list[str]:
    """Of the table `said`; none where it is not there."""
    with server.connect(server.database(purpose)) as connection:
        if not connection.execute("select to_regclass('public.said')").fetchone()[0]:
            return []
        return [row[0] for row in connection.execute("select word from said order by number")]


@pytest.fixture
def dumps(port: int, tmp_path: Path) -> Path:
    """Of three databases, each with its own name in a table, and of Prefect's with a slot that is held."""
    databases, before = PostgreSql(), place(port, tmp_path, "before")
    databases.prepare(before, PURPOSES)
    for purpose in PURPOSES:
        with before.postgres.connect(before.postgres.database(purpose)) as connection:
            connection.execute("create table if not exists said (number serial primary key, word text)")
            connection.execute("truncate said")
            connection.execute(f"insert into said (word) select '{purpose}' from generate_series(1, {ROWS})")
            connection.execute("drop table if exists concurrency_limit_v2")
            if purpose == PREFECT:
                connection.execute("create table concurrency_limit_v2 as select 'gpu0' as name, 1 as active_slots")
    folder = tmp_path / "dumps"
    folder.mkdir()
    databases.dump(before, PURPOSES, folder)
    return folder


@pytest.mark.parametrize("damage", ["cut off", "half of it is gone", "not fit for it"])
def test_restore_that_fails_leaves_every_database_empty_and_can_be_tried_again(
    port: int, dumps: Path, tmp_path: Path, damage: str
) -> None:
    databases, now = PostgreSql(), place(port, tmp_path, f"now {damage}")
    whole = (dumps / PREFECT).read_bytes()
    broken = {
        "cut off": whole[:-20_000],
        "half of it is gone": whole[: len(whole) // 2],
        "not fit for it": (dumps / MLFLOW).read_bytes(),  # has no slots that could be freed
    }[damage]
    (dumps / PREFECT).write_bytes(broken)
    with pytest.raises(ServerError, match=r"the dump could not be loaded: .*(error|ERROR)"):
        databases.load(now, dumps, [tmp_path], tmp_path)
    assert [rows(now.postgres, purpose) for purpose in PURPOSES] == [[], [], []]
    (dumps / PREFECT).write_bytes(whole)
    databases.load(now, dumps, [tmp_path], tmp_path)
    assert [rows(now.postgres, purpose) for purpose in PURPOSES] == [[purpose] * ROWS for purpose in PURPOSES]
    with now.postgres.connect(now.postgres.database(PREFECT)) as connection:
        assert connection.execute("select active_slots from concurrency_limit_v2").fetchall() == [(0,)]
