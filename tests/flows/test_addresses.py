"""What is refused of an address before anything is started: whom to tell, and which server to ask."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from flows.automations import check_address
from flows.servers import answers
from minimind.errors import UserError


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://", "begins with http:// and names no host"),
        ("https://a b c/", "begins with https:// and names no host"),
        ("https://[/", "is no address"),
        ("telegram://", "apprise cannot read the rest; see its page on telegram"),
        ("garbage", "'garbage' is no address and no notification block"),
    ],
)
def test_address_that_nobody_can_be_told_at_is_refused(address: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_address(address)


@pytest.mark.parametrize(
    "address",
    [
        "https://chat.example.org/hooks/1",
        "http://[::1]:8080/",
        "mailto://me:word@example.org?to=you@example.org",
        "slack-webhook/team",
    ],
)
def test_address_that_may_be_one_is_taken(address: str) -> None:
    check_address(address)


@pytest.fixture
def page() -> Iterator[tuple[str, list[bytes]]]:
    """Its address, and what it answers with."""
    content = [b""]

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(content[0])

        def log_message(self, *said: object) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/health", content
    server.shutdown()


@pytest.mark.parametrize(("said", "is_ours"), [(b"true", True), (b"OK", True), (b"<html>", False), (b"", False)])
def test_page_of_another_program_is_no_answer(page: tuple[str, list[bytes]], said: bytes, is_ours: bool) -> None:
    address, content = page
    content[0] = said
    assert answers(address) == is_ours
