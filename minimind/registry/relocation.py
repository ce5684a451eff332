"""MLflow keeps where artifacts lie as absolute paths; this moves them when a store has moved."""

from pathlib import Path

from minimind.registry.tracking import refusals_said

ADDRESSES = ("artifact_location", "artifact_uri", "source", "storage_location")  # columns, in whichever table


def move_artifacts(database: str, before: Path, now: Path) -> int:
    """Makes every address below the folder `before` one below `now`; how many there were.

    `database` is MLflow's own, as SQLAlchemy names it. Addresses that a server resolves (mlflow-artifacts:/, s3://)
    stay as they are.
    """
    from sqlalchemy import MetaData, String, create_engine, func, update

    engine = create_engine(database)
    moved = 0
    with refusals_said(database), engine.begin() as connection:
        metadata = MetaData()
        metadata.reflect(connection)
        for table in metadata.sorted_tables:
            for column in table.columns:
                if column.name not in ADDRESSES or not isinstance(column.type, String):
                    continue
                for scheme in ("", "file://"):
                    old = f"{scheme}{before}/"
                    below = func.substr(column, 1, len(old)) == old
                    new = f"{scheme}{now}/" + func.substr(column, len(old) + 1)
                    moved += connection.execute(update(table).where(below).values({column: new})).rowcount
    engine.dispose()
    return moved
