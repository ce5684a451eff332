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
    from sqlalchemy import case, func, or_, update

    moved = 0
    named = [(f"{scheme}{folder}/", f"{scheme}{now}/") for scheme, folder in product(SCHEMES, before)]
    with _address_columns(database) as (connection, columns):
        for column in columns if named else ():
            below = {old: func.substr(column, 1, len(old)) == old for old, _ in named}
            address = case(*((below[old], new + func.substr(column, len(old) + 1)) for old, new in named))
            changed = update(column.table).where(or_(*below.values())).values({column: address})
            moved += connection.execute(changed).rowcount
    return moved


def stores_named(database: str) -> set[Path]:
    """The folders of stores that MLflow's addresses of files name, as they were called when these were written."""
    from sqlalchemy import distinct, select

    with _address_columns(database) as (connection, columns):
        found = [str(address) for column in columns for (address,) in connection.execute(select(distinct(column)))]
    paths = [address.removeprefix("file://") for address in found]
    inside = [f"{path}/".rpartition(f"/{FOLDER}/") for path in paths if path.startswith("/")]
    return {Path(store) for store, found, _ in inside if found}


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
