"""Planted secrets are in no log, store, database, artifact or report; where one would get in, it is refused."""

import base64
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from flows.credentials import FLASK_KEY, MLFLOW_PASSWORD, POSTGRES_PASSWORD, PREFECT, credentials_path
from flows.databases import ACCOUNTS, MLFLOW
from flows.databases import PREFECT as PREFECT_DATABASE
from tests.flows.domain import Domain
from tests.system.checks import assert_all_is_well
from tests.system.fleeting import files_below, words_of
from tests.system.installation import SECRETS, Installation
from tests.system.web import serving

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]
((VARIABLE, TOKEN),) = SECRETS.items()
WRITTEN_OUT = "planted-2d9e4b"  # in the YAML itself, which is the user's own file


@pytest.fixture(params=["healthy", "healthy_team"], ids=["local", "team"])
def kept(request: pytest.FixtureRequest) -> Installation:
    """SQLite and files; PostgreSQL, passwords, and artifacts that MLflow's server passes on."""
    return request.getfixturevalue(request.param)


def test_secrets_of_sources_stay_in_the_request(kept: Installation) -> None:
    with serving(kept.corpus, login=f"reader:{TOKEN}") as by_variable, serving(kept.corpus) as by_parameter:

        def change(tree: dict[str, Any]) -> None:
            with_login = by_variable.url.replace("://", f"://reader:${{{VARIABLE}}}@")
            tree["cleaning"]["max_removed_share"] = 1.0  # both have the same documents
            files = [{"url": with_login}, {"url": f"{by_parameter.url}?api_token={WRITTEN_OUT}"}]
            tree["corpus"]["sources"] = [
                {"kind": "http", "name": f"web{number}", "files": [file]} for number, file in enumerate(files)
            ]

        kept.complete(kept.config("secrets", change))
        for folder in ("corpus", "downloads", "mlflow-artifacts"):
            assert any(files_below(kept.store.root / folder)), f"{folder} is empty"
        assert_nowhere(kept)
        by_parameter.always = "is gone"  # and in what is said of an error
        kept.forget_builds()
        failed = kept.finish(kept.start_run(kept.config("secrets", change)))
    assert failed["state_type"] == "FAILED"
    assert "api_token=***" in failed["state"]["message"]
    assert_all_is_well(kept)
    assert_nowhere(kept)


def test_secret_in_an_override_is_refused_before_it_is_kept(kept: Installation) -> None:
    secret = f"https://reader:{WRITTEN_OUT}@example.org/texts.jsonl"
    override = f"corpus.sources=[{{kind: http, name: web, files: [{{url: '{secret}'}}]}}]"
    with pytest.raises(httpx.HTTPStatusError) as refused:
        kept.start_run(kept.folder / "domain.yaml", overrides=[override])
    assert refused.value.response.status_code in (409, 422)
    domain = Domain(kept.folder / "domain.yaml", kept.corpus, kept.store.root)
    for arguments in (["--set", override], ["--source", secret]):
        said = domain.run(*arguments, expect=2)["stderr"]
        assert "write ${NAME} in its place" in said
        assert WRITTEN_OUT not in said
    assert_nowhere(kept)


def assert_nowhere(installation: Installation) -> None:
    """Looks through every byte below the store: builds, downloads, reports, databases, artifacts, leases, logs.

    A database is also dumped, as PostgreSQL compresses long values in its files; and command lines, which every user of
    the machine can read, are looked at.
    """
    needles = [word.encode() for word in (*planted(), *made_up(installation))]
    private = [credentials_path(installation.store.root), installation.store.root / "servers" / "mlflow-accounts.ini"]
    with tempfile.TemporaryDirectory() as folder:
        place, dumps = installation.place, Path(folder)
        place.profile.databases.dump(place, [PREFECT_DATABASE, MLFLOW, ACCOUNTS], dumps)
        assert b"retrain" in (dumps / PREFECT_DATABASE).read_bytes(), "nothing was looked through"
        files = [*files_below(dumps), *(path for path in files_below(installation.store.root) if path not in private)]
        found = [f"{path}: {needle!r}" for path in files for needle in needles if needle in content_of(path)]
    words = " ".join(word for process in installation.processes() for word in words_of(process)).encode()
    assert not found + [f"a command line: {needle!r}" for needle in needles if needle in words]


def planted() -> list[str]:
    login = f"reader:{TOKEN}"
    return [TOKEN, quote(TOKEN, safe=""), WRITTEN_OUT, base64.b64encode(login.encode()).decode()]


def made_up(installation: Installation) -> list[str]:
    """The passwords that `minimind up` has made for a team, and what a browser would send; two files may hold them."""
    known = installation.place.credentials
    names = (PREFECT, MLFLOW_PASSWORD, FLASK_KEY, POSTGRES_PASSWORD)
    passwords = [known[name].rpartition(":")[2] for name in names if name in known]
    assert bool(passwords) == installation.place.profile.has_auth
    logins = [f"minimind:{password}" for password in passwords]
    return [*passwords, *(base64.b64encode(login.encode()).decode() for login in logins)]


def content_of(path: Path) -> bytes:
    """Empty where it has gone meanwhile."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
