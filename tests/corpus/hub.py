"""A Hugging Face hub in small: one dataset, served from memory by the routes that its libraries ask."""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "c0ffee" * 6 + "c0ff"
DATASET = "team/laws"


@contextmanager
def serve_hub(files: Mapping[str, bytes], asked: set[str] | None = None) -> Iterator[str]:
    """The endpoint's URL while the files of DATASET are served at COMMIT and at `main`.

    The names of files whose content is asked for go into `asked`.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            path = unquote(urlsplit(self.path).path)
            info, tree = f"/api/datasets/{DATASET}/revision/", f"/api/datasets/{DATASET}/tree/{COMMIT}"
            resolved = f"/datasets/{DATASET}/resolve/{COMMIT}/"
            if path in (info + COMMIT, info + "main"):
                siblings = [{"rfilename": name, "size": len(content)} for name, content in files.items()]
                self.send_json({"id": DATASET, "sha": COMMIT, "siblings": siblings})
            elif path.startswith(tree):
                self.send_json(entries_below(files, path.removeprefix(tree).strip("/")))
            elif path.startswith(resolved) and path.removeprefix(resolved) in files:
                if asked is not None and self.command == "GET":
                    asked.add(path.removeprefix(resolved))
                self.send_file(files[path.removeprefix(resolved)])
            else:
                code = "EntryNotFound" if "/resolve/" in path else "RepoNotFound"
                self.send(404, b"{}", {"X-Error-Code": code, "Content-Length": "2"})

        def send_json(self, value: Any) -> None:
            content = json.dumps(value).encode()
            self.send(200, content, {"Content-Type": "application/json", "Content-Length": str(len(content))})

        def send_file(self, content: bytes) -> None:
            headers = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
            asked = self.headers.get("Range")
            if asked:
                start, _, stop = asked.removeprefix("bytes=").partition("-")
                part = content[int(start) : int(stop) + 1 if stop else None]
                headers["Content-Range"] = f"bytes {start}-{int(start) + len(part) - 1}/{len(content)}"
                self.send(206, part, headers | {"Content-Length": str(len(part))})
            else:
                self.send(200, content, headers | {"Content-Length": str(len(content))})

        def send(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def do_GET(self) -> None:
            self.answer()

        def do_HEAD(self) -> None:
            self.answer()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def entries_below(files: Mapping[str, bytes], folder: str) -> list[dict[str, Any]]:
    """What lies directly in a folder of the dataset, as the hub lists it."""
    prefix = f"{folder}/" if folder else ""
    below = {name: name.removeprefix(prefix) for name in files if name.startswith(prefix)}
    folders = sorted({prefix + rest.split("/")[0] for rest in below.values() if "/" in rest})
    return [
        *({"type": "directory", "path": name, "oid": "0" * 40, "size": 0} for name in folders),
        *(
            {"type": "file", "path": name, "oid": hashlib.sha1(files[name]).hexdigest(), "size": len(files[name])}
            for name, rest in below.items()
            if "/" not in rest
        ),
    ]
