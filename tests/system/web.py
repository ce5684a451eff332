"""A web server that hands out one file, and misbehaves as it is told, once for each request."""

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

BEHAVIOURS = ("stalls", "lies about its length", "dies after half")  # and `is gone`


class Web(ThreadingHTTPServer):
    """`coming` holds what the next requests meet; after them, and after `always`, all is well."""

    daemon_threads = True

    def __init__(self, file: Path, login: str | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.file, self.login = file, login
        self.coming: list[str] = []
        self.always: str | None = None
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/texts.jsonl"


class Handler(BaseHTTPRequestHandler):
    server: Web

    def do_GET(self) -> None:
        expected = f"Basic {base64.b64encode((self.server.login or '').encode()).decode()}"
        if self.server.login and self.headers.get("Authorization") != expected:
            self.send_error(401)
            return
        behaviour = self.server.always or (self.server.coming.pop(0) if self.server.coming else None)
        if behaviour == "is gone":
            self.send_error(404)
            return
        content = self.server.file.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Content-Length", str(len(content) * (2 if behaviour == "lies about its length" else 1)))
        self.send_header("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
        self.end_headers()
        self.wfile.write(content if behaviour in (None, "lies about its length") else content[: len(content) // 2])
        self.wfile.flush()
        if behaviour == "stalls":
            self.server.over.wait(120)
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@contextmanager
def serving(file: Path, login: str | None = None) -> Iterator[Web]:
    web = Web(file, login)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    try:
        yield web
    finally:
        web.over.set()
        web.shutdown()
        web.server_close()
