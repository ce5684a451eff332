"""A throw-away PostgreSQL cluster for tests, on a free port of 127.0.0.1."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


@contextmanager
def postgres_cluster(port: int) -> Iterator[str]:
    """The address of an empty database for SQLAlchemy; the cluster ends with the block.

    It does not lie in pytest's folder, which other sessions close to everybody else, its server included.
    """
    found = shutil.which("initdb")
    programs = Path(found).resolve().parent if found else next(iter(PROGRAMS), None)
    if programs is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="minimind-postgres-"))
    other: dict[str, Any] = {}
    if os.geteuid() == 0:  # as which it refuses to run
        shutil.chown(folder, "postgres", "postgres")
        other = {"user": "postgres", "group": "postgres", "extra_groups": []}
    data = folder / "data"
    made = [str(programs / "initdb"), "-D", str(data), "--username=tests", "--auth=trust", "--encoding=UTF8", "-N"]
    subprocess.run(made, check=True, capture_output=True, cwd="/", **other)
    options = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off"]
    server = subprocess.Popen(
        [str(programs / "postgres"), "-D", str(data), "-p", str(port), *options],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", **other,
    )  # fmt: skip
    try:
        ready = [str(programs / "pg_isready"), "-h", "127.0.0.1", "-p", str(port)]
        until = time.monotonic() + 60
        while subprocess.run(ready, capture_output=True).returncode and time.monotonic() < until:
            time.sleep(0.2)
        yield f"postgresql+asyncpg://tests@127.0.0.1:{port}/postgres"
    finally:
        server.send_signal(signal.SIGINT)  # ends sessions, then itself
        server.wait(30)
        shutil.rmtree(folder)
