"""Planted secrets are in no log, store, database, artifact or report; where one would get in, it is refused."""

import base64
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.flows.domain import Domain
from tests.system.checks import assert_all_is_well
from tests.system.installation import SECRETS, Installation
from tests.system.web import serving

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]
((VARIABLE, TOKEN),) = SECRETS.items()
WRITTEN_OUT = "planted-2d9e4b"  # in the YAML itself, which is the user's own file


def test_secrets_of_sources_stay_in_the_request(healthy: Installation) -> None:
    with serving(healthy.corpus, login=f"reader:{TOKEN}") as by_variable, serving(healthy.corpus) as by_parameter:

        def change(tree: dict[str, Any]) -> None:
            with_login = by_variable.url.replace("://", f"://reader:${{{VARIABLE}}}@")
            tree["cleaning"]["max_removed_share"] = 1.0  # both have the same documents
            files = [{"url": with_login}, {"url": f"{by_parameter.url}?api_token={WRITTEN_OUT}"}]
            tree["corpus"]["sources"] = [
                {"kind": "http", "name": f"web{number}", "files": [file]} for number, file in enumerate(files)
            ]

        healthy.complete(healthy.config("secrets", change))
        assert files(healthy.store.root / "corpus")
        assert files(healthy.store.root / "downloads")
        assert_nowhere(healthy)
        by_parameter.always = "is gone"  # and in what is said of an error
        healthy.forget_builds()
        failed = healthy.finish(healthy.start_run(healthy.config("secrets", change)))
    assert failed["state_type"] == "FAILED"
    assert "api_token=***" in failed["state"]["message"]
    assert_all_is_well(healthy)
    assert_nowhere(healthy)


def test_secret_in_an_override_is_refused_before_it_is_kept(healthy: Installation) -> None:
    secret = f"https://reader:{WRITTEN_OUT}@example.org/texts.jsonl"
    override = f"corpus.sources=[{{kind: http, name: web, files: [{{url: '{secret}'}}]}}]"
    with pytest.raises(httpx.HTTPStatusError) as refused:
        healthy.start_run(healthy.folder / "domain.yaml", overrides=[override])
    assert refused.value.response.status_code in (409, 422)
    domain = Domain(healthy.folder / "domain.yaml", healthy.corpus, healthy.store.root)
    for arguments in (["--set", override], ["--source", secret]):
        said = domain.run(*arguments, expect=2)["stderr"]
        assert "write ${NAME} in its place" in said
        assert WRITTEN_OUT not in said
    assert_nowhere(healthy)


def assert_nowhere(installation: Installation) -> None:
    """Looks through every byte below the store: builds, downloads, reports, both databases, artifacts, leases, logs."""
    written = [TOKEN, quote(TOKEN, safe=""), f"reader:{TOKEN}", WRITTEN_OUT]
    needles = [word.encode() for word in written] + [base64.b64encode(f"reader:{TOKEN}".encode())]
    found = [
        f"{path.relative_to(installation.store.root)}: {needle!r}"
        for path in sorted(installation.store.root.rglob("*"))
        if path.is_file()
        for needle in needles
        if needle in path.read_bytes()
    ]
    assert not found
    assert any(path.suffix == ".db" for path in files(installation.store.root / "prefect")), (
        "nothing was looked through"
    )


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
