"""What `minimind up` goes on with, and the unit that has it do so when the machine starts."""

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from flows import servers
from flows.asked_for import asked_for
from flows.boot_unit import boot_unit
from flows.profiles import Setup, save_setup
from flows.servers import Started
from minimind.errors import UserError

BEFORE = Setup(
    profile="team",
    project=Path("/projects/laws 100%"),
    host="0.0.0.0",
    prefect_port=4300,
    allowed_hosts=("a.example.org", "b.example.org"),
    postgres="postgresql://user@db.example.org:5432/models",
)


def test_up_goes_on_with_the_options_of_before_and_says_so(tmp_path: Path) -> None:
    save_setup(tmp_path, BEFORE)
    said: list[str] = []
    setup = asked_for(tmp_path, said.append, host=None, mlflow_port=5100, allowed_hosts=None)
    assert setup == BEFORE.model_copy(update={"project": Path.cwd(), "mlflow_port": 5100})
    assert said == [
        "as before: --profile team --host 0.0.0.0 --prefect-port 4300 --allow-host a.example.org "
        "--allow-host b.example.org --postgres postgresql://user@db.example.org:5432/models"
    ]


def test_what_is_named_counts_even_where_it_is_the_default_or_nothing(tmp_path: Path) -> None:
    save_setup(tmp_path, BEFORE)
    setup = asked_for(tmp_path, lambda line: None, host="127.0.0.1", prefect_port=4200, allowed_hosts=())
    assert (setup.host, setup.prefect_port, setup.allowed_hosts) == ("127.0.0.1", 4200, ())


def test_first_up_has_the_defaults_and_says_nothing(tmp_path: Path) -> None:
    assert asked_for(tmp_path, pytest.fail, profile=None, host=None) == Setup(project=Path.cwd())
    with pytest.raises(UserError, match="--profile 'lokal' is none; expected local or team"):
        asked_for(tmp_path, pytest.fail, profile="lokal")


def test_port_of_the_stores_own_cluster_stays_unless_somebody_took_it(tmp_path: Path) -> None:
    said: list[str] = []
    with socket.socket() as taken:
        taken.bind((servers.HOST, 0))
        port = taken.getsockname()[1]
        save_setup(tmp_path, BEFORE.model_copy(update={"postgres": None, "postgres_port": port}))
        taken.listen()
        assert asked_for(tmp_path, said.append).postgres_port is None
        assert said[0] == f"port {port}, which PostgreSQL had, is taken: it gets another"
        servers.record(tmp_path, Started.of("PostgreSQL", os.getpid()))
        assert asked_for(tmp_path, said.append).postgres_port == port, "it is the cluster that is up"
        assert [line.split(":")[0] for line in said[2:]] == ["as before"]
        servers.forget_all(tmp_path)
        assert asked_for(tmp_path, lambda line: None, postgres_port=port).postgres_port == port, "`up` refuses it"
    assert asked_for(tmp_path, lambda line: None).postgres_port == port


@pytest.mark.parametrize(("user", "target"), [(0, "multi-user.target"), (1000, "default.target")], ids=["root", "user"])
def test_unit_starts_the_store_as_it_was_and_stops_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: int, target: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setenv("PATH", "/opt/my tools:/usr/bin:/bin")
    monkeypatch.setenv("MINIMIND_POSTGRES_URL", "postgresql://user:secret@db.example.org/models")
    project = tmp_path / "laws 100%"
    project.mkdir()
    save_setup(tmp_path / "my store", BEFORE.model_copy(update={"project": project}))
    unit = boot_unit(tmp_path / "my store")
    assert f"WantedBy={target}" in unit
    assert f'"up" "--store" "{tmp_path}/my store"\n' in unit
    assert f'"down" "--store" "{tmp_path}/my store"\n' in unit
    assert f"WorkingDirectory={tmp_path}/laws 100%%\n" in unit
    assert f'RequiresMountsFor="{tmp_path}/my store"\n' in unit
    assert f'test -e "{tmp_path}/my store/servers/setup.json"\n' in unit, "an empty mount point is no empty store"
    assert "secret" not in unit
    if analyze := shutil.which("systemd-analyze"):
        written = tmp_path / "minimind.service"
        written.write_text(unit)
        scope = [] if user == 0 else ["--user"]
        done = subprocess.run([analyze, "verify", *scope, written], capture_output=True, text=True, env={"HOME": "/"})
        assert "minimind.service" not in done.stderr + done.stdout, done.stderr


def test_unit_of_a_store_that_was_never_up_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing was ever up in .*; start it once with `minimind up`"):
        boot_unit(tmp_path)


def test_unit_of_a_project_that_is_not_here_is_refused(tmp_path: Path) -> None:
    save_setup(tmp_path, BEFORE.model_copy(update={"project": tmp_path / "elsewhere"}))
    with pytest.raises(UserError, match=r"the project of .* was .*/elsewhere, which is not here"):
        boot_unit(tmp_path)


def test_empty_option_is_one_that_was_not_named(tmp_path: Path) -> None:
    save_setup(tmp_path, BEFORE)
    assert asked_for(tmp_path, lambda line: None, postgres="").postgres == BEFORE.postgres
