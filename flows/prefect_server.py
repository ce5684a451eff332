"""Prefect's server behind a door: a request with a foreign Host or Origin gets 403.

Prefect itself looks at neither, and takes a body without a content type for JSON: any web page that is open in a
browser on this machine could else start runs, by its own name or by one that it lets point to 127.0.0.1.
"""

import argparse
import sys
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


class Door:
    """An ASGI application that passes on what is meant for one of the allowed names; the port does not count."""

    def __init__(self, application: Application, allowed_hosts: Iterable[str]) -> None:
        self.application = application
        self.allowed = {name.strip("[]").lower() for name in allowed_hosts}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or self.admits(scope["headers"]):
            await self.application(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})  # before it was accepted: answered with 403
        else:
            head = [(b"content-type", b"text/plain; charset=utf-8")]
            await send({"type": "http.response.start", "status": 403, "headers": head})
            await send({"type": "http.response.body", "body": b"This server does not answer to that Host or Origin.\n"})

    def admits(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
        origins = [value.decode("latin-1") for name, value in headers if name == b"origin"]
        if len(hosts) != 1:
            return False
        return all(name in self.allowed for name in [_name(f"//{hosts[0]}"), *map(_name, origins)])


def _name(address: str) -> str | None:
    """The host of an address, in lower case; None where it has none."""
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


def server_command(host: str, port: int, allowed_hosts: Iterable[str]) -> list[str]:
    """The command of the process that `serve` is the body of."""
    allowed = [word for name in allowed_hosts for word in ("--allow", name)]
    return [sys.executable, "-m", "flows.prefect_server", "--host", host, "--port", str(port), *allowed]


def serve(host: str, port: int, allowed_hosts: list[str]) -> None:
    import uvicorn
    from prefect.server.api.server import create_app
    from prefect.settings import get_current_settings

    settings = get_current_settings()
    # Held for milliseconds, by a pid: after a power cut that of another process, and no lease would be given any more.
    (settings.home / "concurrency_leases" / "expirations.lock").unlink(missing_ok=True)
    api = settings.server.api
    uvicorn.run(
        Door(create_app(final=True), allowed_hosts),
        host=host,
        port=port,
        log_level="warning",
        timeout_keep_alive=api.keepalive_timeout,
        ws_ping_interval=api.websocket_ping_interval,
        ws_ping_timeout=api.websocket_ping_timeout,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Serves Prefect; started by `minimind up` and `minimind run`.")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--allow", action="append", required=True, metavar="HOST")
    arguments = parser.parse_args()
    serve(arguments.host, arguments.port, arguments.allow)
