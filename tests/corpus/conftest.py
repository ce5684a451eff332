"""A corpus of local files in a line, documents read back, and an HTTP server on this machine that misbehaves."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from corpus_sections import Source, section_of

from minimind.corpus.build import CorpusInputs, build
from minimind.store import Manifest, Store

BuildCorpus = Callable[..., Manifest]
Answer = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture
def build_corpus(store: Store) -> BuildCorpus:
    """(paths or sources, **limits) -> manifest; paths make one local source named `own`."""

    def make(*given: Path | str | Source, refresh: bool = False, store: Store = store, **limits: Any) -> Manifest:
        sources = [each for each in given if isinstance(each, dict)]
        if paths := [str(each) for each in given if not isinstance(each, dict)]:
            sources.append({"kind": "local_files", "name": "own", "paths": paths})
        return build(section_of(sources, **limits), CorpusInputs(refresh), store)

    return make


@pytest.fixture
def read() -> Callable[[Manifest], list[dict[str, Any]]]:
    """The documents of a build in their order, metadata as a dict."""

    def rows(manifest: Manifest) -> list[dict[str, Any]]:
        found = []
        for name in manifest.matching("documents-"):
            for row in pq.read_table(manifest.file(name)).to_pylist():
                found.append({**row, "metadata": dict(row["metadata"])})
        return found

    return rows


@pytest.fixture
def texts(read: Callable[[Manifest], list[dict[str, Any]]]) -> Callable[[Manifest], dict[str, str]]:
    """document_id -> text."""
    return lambda manifest: {row["document_id"]: row["text"] for row in read(manifest)}


# --- a server ---------------------------------------------------------------------------------------------------------


@dataclass
class Server:
    """Answers each path by the next of its answers; the last one stays. Keeps what it was asked."""

    url: str
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    sent: int = 0  # bytes of content, by `serve`

    def asked(self, method: str) -> int:
        return sum(1 for seen, _, _ in self.requests if seen == method)

    def serve(self, path: str, content: bytes, etag: str | None = '"1"', **headers: str) -> None:
        """Serves the content at `path`: nothing to those who have this ETag, the rest to those who have a part."""

        def answer(handler: BaseHTTPRequestHandler) -> None:
            start = 0
            if etag and handler.headers.get("If-None-Match") == etag:
                handler.send_response(304)
                handler.end_headers()
                return
            asked = handler.headers.get("Range")
            if asked and handler.headers.get("If-Range") == etag:
                start = int(asked.removeprefix("bytes=").rstrip("-"))
            handler.send_response(206 if start else 200)
            handler.send_header("Content-Length", str(len(content) - start))
            if start:
                handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            if etag:
                handler.send_header("ETag", etag)
            for name, value in headers.items():
                handler.send_header(name.replace("_", "-"), value)
            handler.end_headers()
            if handler.command == "GET":
                handler.wfile.write(content[start:])
                self.sent += len(content) - start

        self.answers[path] = [answer]

    def fail(self, path: str, status: int, times: int | None = None) -> None:
        """Answers with an error: `times` times before what is served there, or for ever."""

        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_error(status)

        self.answers[path] = [answer] if times is None else [answer] * times + self.answers[path]

    def cut(self, path: str, content: bytes, at: int, etag: str | None = '"1"', **headers: str) -> None:
        """Announces the whole content to the next GET at `path`, and hangs up after `at` bytes."""

        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(content)))
            if etag:
                handler.send_header("ETag", etag)
            for name, value in headers.items():
                handler.send_header(name.replace("_", "-"), value)
            handler.end_headers()
            handler.wfile.write(content[:at])
            handler.wfile.flush()
            handler.connection.close()

        self.answers[path].insert(0, answer)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setattr("minimind.corpus.retries.RETRY_DELAYS", (0.0, 0.0, 0.0))
    state = Server("")

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            state.requests.append((self.command, self.path, dict(self.headers)))
            answers = state.answers.get(self.path.partition("?")[0])
            if not answers:
                self.send_error(404)
                return
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            answer(self)

        def do_GET(self) -> None:
            self.answer()

        def do_HEAD(self) -> None:
            self.answer()

        def log_message(self, *_: Any) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{httpd.server_address[1]}"
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield state
    httpd.shutdown()
    httpd.server_close()
    thread.join()
