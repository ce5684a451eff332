"""What the commands ask of a Prefect server, and what they make of its answers."""

import httpx
import pytest

from flows.prefect_api import PrefectApi
from minimind.errors import ServerError

LIMIT = "/api/v2/concurrency_limits/gpu0"


@pytest.mark.parametrize(
    ("found", "made", "refused"),
    [(200, 0, None), (404, 1, None), (503, 0, f"refuses {LIMIT} .503: database is locked"), (401, 0, "refuses")],
    ids=["there", "missing", "busy", "wrong password"],
)
def test_limit_is_made_where_there_is_none_and_only_where_the_server_says_so(
    found: int, made: int, refused: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    posted = []

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["authorization"] == "Basic dXNlcjpwYXNzOndvcmQ="  # as curl says it of user:pass:word
        if request.method == "GET":
            return httpx.Response(found, text="database is locked")
        posted.append(request.url.path)
        return httpx.Response(201)

    client = httpx.Client
    monkeypatch.setattr(httpx, "Client", lambda **more: client(transport=httpx.MockTransport(answer), **more))
    api = PrefectApi("http://prefect.example.org/api", "user:pass:word")
    if refused:
        with pytest.raises(ServerError, match=refused):
            api.ensure_limit("gpu0", slots=1)
    else:
        api.ensure_limit("gpu0", slots=1)
    assert len(posted) == made
