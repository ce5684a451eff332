"""A team store's own PostgreSQL while `backup` or `restore` has it up, and when that is killed."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from domain import PROJECT, environment

from flows import servers
from flows.postgres import programs, running_cluster
from minimind.errors import ServerError

pytestmark = pytest.mark.slow
HOLDS_IT = """
import sys, time
from pathlib import Path
from flows.postgres import running_cluster
with running_cluster(Path(sys.argv[1]), "password"):
    print("up", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def root() -> Iterator[Path]:
    """Not pytest's own folder, which nobody but its owner may enter: PostgreSQL does not run as root."""
    try:
        programs()
    except ServerError as error:
        pytest.skip(str(error))
    folder = Path(tempfile.mkdtemp(prefix="minimind-cluster-"))
    folder.chmod(0o755)
    yield folder / "store"
    servers.stop(servers.left_over(folder / "store"))
    shutil.rmtree(folder)


def test_cluster_that_a_killed_backup_has_left_is_ended_by_the_next(root: Path) -> None:
    command = [sys.executable, "-c", HOLDS_IT, str(root)]
    paths = {"PYTHONPATH": str(PROJECT)}
    process = subprocess.Popen(command, env=environment(**paths), stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "up\n"
    with pytest.raises(ServerError, match="another command is using"), running_cluster(root, "password"):
        pass
    process.kill()
    process.communicate()
    (left, *_) = servers.left_over(root, "PostgreSQL")
    with running_cluster(root, "password") as postgres:
        assert postgres.answers()
        assert not replace(postgres, password="another").answers()
        assert not left.is_alive()
    assert not servers.left_over(root)
