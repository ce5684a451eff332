import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows.postgres import programs
from minimind.errors import ServerError
from tests.system.checks import assert_all_is_well
from tests.system.installation import Installation
from tests.system.patience import PATIENCE
from tests.system.results import Results


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The limits of whole tests are for busy machines as long as those of what they wait for."""
    here = Path(__file__).parent
    for item in items:
        if (limit := item.get_closest_marker("timeout")) and here in item.path.parents:
            item.add_marker(pytest.mark.timeout(limit.args[0] * PATIENCE), append=False)


@pytest.fixture(scope="package")
def installation(
    tmp_path_factory: pytest.TempPathFactory, sentences: Callable[[int, int], str]
) -> Iterator[Installation]:
    """One that all faults share: after each, it is as it was before. Its servers end with this folder's tests."""
    with Installation(tmp_path_factory.mktemp("system"), sentences).while_up() as installation:
        yield installation


@pytest.fixture(scope="package")
def team(sentences: Callable[[int, int], str]) -> Iterator[Installation]:
    """One with PostgreSQL and passwords; in a folder that PostgreSQL's user may enter."""
    try:
        programs()
    except ServerError as error:
        pytest.skip(str(error))
    with tempfile.TemporaryDirectory(prefix="minimind-system-") as folder:
        Path(folder).chmod(0o755)
        with Installation(Path(folder), sentences, profile="team").while_up() as team:
            yield team


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
