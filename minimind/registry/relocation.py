"""MLflow keeps where artifacts lie as absolute paths; this moves them when a store has moved."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

from minimind.registry.tracking import refusals_said

FOLDER = "mlflow-artifacts"  # of a store
ADDRESSES = ("artifact_location", "artifact_uri", "source", "storage_location")  # columns, in whichever table


SCHEMES = ("", "file://")  # of addresses that are paths; others a server resolves (mlflow-artifacts:/, s3://)


def move_artifacts(database: str, before: Iterable[Path], now: Path) -> int:
    """Makes every address below one of the folders `before` one below `now`; how many there were.

    `database` is MLflow's own, as SQLAlchemy names it. Addresses that a server resolves stay as they are.
    """
    from sqlalchemy import func, update

    moved = 0
    with _address_columns(database) as (connection, columns):
        for column, scheme, folder in product(columns, SCHEMES, before):
            old = f"{scheme}{folder}/"
            below = func.substr(column, 1, len(old)) == old
            new = f"{scheme}{now}/" + func.substr(column, len(old) + 1)
            moved += connection.execute(update(column.table).where(below).values({column: new})).rowcount
    return moved


def stores_named(database: str) -> set[Path]:
    """The folders of stores that MLflow's addresses of files name, as they were called when these were written."""
    from sqlalchemy import distinct, select

    with _address_columns(database) as (connection, columns):
        found = [str(address) for column in columns for (address,) in connection.execute(select(distinct(column)))]
    paths = [address.removeprefix("file://") for address in found]
    return {Path(path.partition(f"/{FOLDER}")[0]) for path in paths if path.startswith("/") and f"/{FOLDER}" in path}


@contextmanager
def _address_columns(database: str) -> Iterator[tuple[Any, list[Any]]]:
    """A connection, whose changes are kept at the end, and the columns that hold addresses."""
    from sqlalchemy import MetaData, String, create_engine

    engine = create_engine(database)
    try:
        with refusals_said(database), engine.begin() as connection:
            metadata = MetaData()
            metadata.reflect(connection)
            columns = [column for table in metadata.sorted_tables for column in table.columns]
            yield connection, [one for one in columns if one.name in ADDRESSES and isinstance(one.type, String)]
    finally:
        engine.dispose()
