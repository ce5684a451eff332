import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from flows.postgres import programs
from minimind.errors import ServerError
from tests.system.checks import assert_all_is_well
from tests.system.installation import Installation, Undisturbed
from tests.system.results import Results


@pytest.fixture(scope="session")
def installation(
    tmp_path_factory: pytest.TempPathFactory, sentences: Callable[[int, int], str]
) -> Iterator[Installation]:
    """One that all faults share: after each, it has to be as it was before."""
    yield from up_and_down(Installation(tmp_path_factory.mktemp("system"), sentences))


@pytest.fixture(scope="session")
def team(sentences: Callable[[int, int], str]) -> Iterator[Installation]:
    """One with PostgreSQL and passwords; in a folder that PostgreSQL's user may enter."""
    try:
        programs()
    except ServerError as error:
        pytest.skip(str(error))
    with tempfile.TemporaryDirectory(prefix="minimind-system-") as folder:
        Path(folder).chmod(0o755)
        yield from up_and_down(Installation(Path(folder), sentences, profile="team"))


def up_and_down(installation: Installation) -> Iterator[Installation]:
    try:
        installation.up()
        yield installation
    finally:
        installation.down()


@pytest.fixture(scope="session")
def undisturbed(installation: Installation) -> Undisturbed:
    """(last stage) -> what a run without a fault publishes. A domain's name is in no byte of it."""

    @cache
    def publish(until: str) -> dict[str, str]:
        installation.forget_builds()
        installation.complete(installation.config("undisturbed"), until=until)
        return installation.published("undisturbed")

    return publish


@pytest.fixture(scope="session")
def results() -> Iterator[Results]:
    gathered = Results()
    yield gathered
    gathered.write()


@pytest.fixture
def healthy(installation: Installation) -> Installation:
    """All services answer, nothing runs, nothing is built."""
    assert_all_is_well(installation)
    installation.forget_builds()
    return installation


@pytest.fixture
def healthy_team(team: Installation) -> Installation:
    assert_all_is_well(team)
    team.forget_builds()
    return team
