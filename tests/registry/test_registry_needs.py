"""What pruning hears from MLflow: which builds its versions name, which registrations `--keep-versions` gives up."""

from collections.abc import Set
from pathlib import Path

import pytest
from mlflow import MlflowClient

from minimind.errors import ModelNotFoundError, ServerError
from minimind.pruning import NOTHING_REGISTERED
from minimind.registry import tracking
from minimind.registry.needs import needs_of_versions
from minimind.store import Outcome, Recipe, Store


@pytest.fixture
def registered(store: Store) -> list[str]:
    """Fingerprints of the registrations of versions 1 to 4, and of version 4 again, which was judged three times."""
    details = [{"name": "tests", "version": str(min(number, 4)), "judged": number} for number in range(1, 7)]
    return [
        store.build(Recipe("registry", each, {}, {}, {}), lambda folder, each=each: Outcome({}, each)).fingerprint
        for each in details
    ]


@pytest.fixture
def client(uri: str) -> MlflowClient:
    """With versions 1 to 4, of which 2 is champion."""
    client = tracking.connect(uri)
    client.create_registered_model("tests")
    for number in range(1, 5):
        tags = {"minimind.corpus_fingerprint": f"corpus {number}", "minimind.device": "cpu"}
        client.create_model_version("tests", source="somewhere", tags=tags)
    client.set_registered_model_alias("tests", "champion", "2")
    return client


def given_up(store: Store, uri: str, keep: int) -> Set[str]:
    return needs_of_versions(store, uri, keep).given_up


def test_older_versions_without_an_alias_are_given_up(
    uri: str, store: Store, registered: list[str], client: MlflowClient
) -> None:
    assert given_up(store, uri, 1) == {registered[0], registered[2]}
    assert given_up(store, uri, 3) == {registered[0]}
    client.set_registered_model_alias("tests", "champion", "1")
    assert given_up(store, uri, 1) == {registered[1], registered[2]}
    client.set_registered_model_alias("tests", "champion", "3")
    assert given_up(store, uri, 1) == {registered[0], registered[1]}
    client.delete_model_version("tests", "1")
    assert given_up(store, uri, 1) == {registered[1]}, "of a version that is not there nothing is known"


def test_all_registrations_of_a_version_are_given_up_together(
    uri: str, store: Store, registered: list[str], client: MlflowClient
) -> None:
    client.create_model_version("tests", source="somewhere")
    assert given_up(store, uri, 1) == {registered[0], *registered[2:]}


@pytest.mark.usefixtures("registered", "client")
def test_versions_that_are_kept_name_their_builds(uri: str, store: Store) -> None:
    """Which are known by their tags alone, where a kill has kept their registration from being published."""
    for keep, kept in ((None, (1, 2, 3, 4)), (1, (2, 4))):
        assert needs_of_versions(store, uri, keep).named == {("corpus", f"corpus {number}") for number in kept}


@pytest.mark.usefixtures("registered")
def test_mlflow_that_knows_nothing_of_the_model_gives_nothing_up(uri: str, store: Store) -> None:
    assert needs_of_versions(store, uri, 1) == NOTHING_REGISTERED


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("where", "keep", "refused"),
    [
        ("sqlite:///{root}/mlflow.db", 1, ModelNotFoundError),
        ("http://127.0.0.1:9", 1, ServerError),
        ("http://127.0.0.1:9", None, ServerError),
    ],
)
def test_mlflow_that_is_not_there_is_said_and_no_database_made(
    where: str, keep: int | None, refused: type[Exception], store: Store
) -> None:
    with pytest.raises(refused):
        needs_of_versions(store, where.format(root=store.root), keep)
    assert not Path(store.root / "mlflow.db").exists()


@pytest.mark.usefixtures("registered")
def test_without_a_database_nothing_is_registered_and_none_is_made(store: Store) -> None:
    assert needs_of_versions(store, tracking.tracking_uri(store.root, {})) == NOTHING_REGISTERED
    assert not Path(store.root / "mlflow.db").exists()
