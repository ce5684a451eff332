"""Which registrations `store prune --keep-versions` gives up: those of which MLflow says that nothing names them."""

from pathlib import Path

import pytest

from minimind.errors import ModelNotFoundError, ServerError
from minimind.registry import tracking
from minimind.registry.unaliased import unaliased
from minimind.store import Outcome, Recipe, Store


@pytest.fixture
def registered(store: Store) -> list[str]:
    """Fingerprints of the registrations of versions 1 to 4."""
    details = [{"name": "tests", "version": str(number)} for number in range(1, 5)]
    return [
        store.build(Recipe("registry", each, {}, {}, {}), lambda folder, each=each: Outcome({}, each)).fingerprint
        for each in details
    ]


def test_older_versions_without_an_alias_are_given_up(uri: str, store: Store, registered: list[str]) -> None:
    client = tracking.connect(uri)
    client.create_registered_model("tests")
    for _ in registered:
        client.create_model_version("tests", source="somewhere")
    client.set_registered_model_alias("tests", "champion", "2")
    assert unaliased(store, uri, keep=1) == {registered[0], registered[2]}
    assert unaliased(store, uri, keep=3) == {registered[0]}
    client.delete_model_version("tests", "1")
    assert unaliased(store, uri, keep=1) == {registered[2]}, "of a version that is not there nothing is known"


@pytest.mark.usefixtures("registered")
def test_mlflow_that_knows_nothing_of_the_model_gives_nothing_up(uri: str, store: Store) -> None:
    assert unaliased(store, uri, keep=1) == frozenset()


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("where", "refused"), [("sqlite:///{root}/mlflow.db", ModelNotFoundError), ("http://127.0.0.1:9", ServerError)]
)
def test_mlflow_that_is_not_there_is_said_and_no_database_made(
    where: str, refused: type[Exception], store: Store
) -> None:
    with pytest.raises(refused):
        unaliased(store, where.format(root=store.root), keep=1)
    assert not Path(store.root / "mlflow.db").exists()
