import sqlite3
from contextlib import closing
from pathlib import Path

from minimind.registry import tracking
from minimind.registry.relocation import move_artifacts, stores_named


def test_address_is_moved_once_though_the_new_store_lies_below_the_old(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        database.execute("create table model_versions (storage_location varchar(500))")
        stores = ["/data/store", "/disk1/store", "/x/mlflow-artifacts-old/store"]
        database.executemany(
            "insert into model_versions values (?)", [(f"{one}/mlflow-artifacts/1",) for one in stores]
        )
        database.commit()
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert stores_named(uri) == set(map(Path, stores))
    assert move_artifacts(uri, map(Path, stores), Path("/data/store/new")) == 3
    assert stores_named(uri) == {Path("/data/store/new")}


def test_artifacts_are_found_where_the_store_has_moved(uri: str, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    client = tracking.connect(uri)
    experiment = client.create_experiment("moved", artifact_location=f"{old}/mlflow-artifacts/moved")
    run = client.create_run(experiment)
    client.log_text(run.info.run_id, "text", "note.txt")
    client.create_registered_model("moved")
    client.create_model_version("moved", f"{old}/mlflow-artifacts/moved/model", run.info.run_id)
    beside = client.create_experiment("beside", artifact_location=f"{old}er/mlflow-artifacts")
    served = client.create_experiment("served", artifact_location="mlflow-artifacts:/served")
    assert {old, old.with_name("older")} <= stores_named(uri)
    old.rename(new)
    assert move_artifacts(uri, [old], new) == 4  # the experiment, the run, the version's source and its location
    moved = tracking.connect(uri)
    found = moved.get_run(run.info.run_id)
    assert found.info.artifact_uri.startswith(f"{new}/mlflow-artifacts/moved/")
    assert [artifact.path for artifact in moved.list_artifacts(run.info.run_id)] == ["note.txt"]
    assert moved.get_model_version_download_uri("moved", "1") == f"{new}/mlflow-artifacts/moved/model"
    assert moved.get_experiment(beside).artifact_location == f"{old}er/mlflow-artifacts"
    assert moved.get_experiment(served).artifact_location == "mlflow-artifacts:/served"
