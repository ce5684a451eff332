"""Runs `git`: watched, stopped when it stalls, with settings and an environment in which it asks nobody for anything.

It may speak https, http, ssh and local files only, and runs no hook.
"""

import base64
import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from minimind.errors import SourceError
from minimind.masking import masked, with_variables

PASSED_ON = ("GIT_SSH", "GIT_SSL", "GIT_CONFIG", "GIT_HTTP", "GIT_PROXY")  # of the caller's own settings
SETTINGS = {
    "core.hooksPath": os.devnull,
    "core.askPass": "",
    "core.fsmonitor": "false",
    "credential.interactive": "false",
    "fetch.unpackLimit": "1",  # one pack, whose growth can be watched
    "gc.auto": "0",
    "maintenance.auto": "false",
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "60",
}
STALLED_SECONDS = 120.0  # without a byte from git, be it data or progress
WATCH_SECONDS = 0.2


class GitError(Exception):
    """What git said, in one line."""


def run_git(arguments: list[str], environment: dict[str, str], output: BinaryIO, check: Callable[[int], None]) -> bytes:
    """What git writes to a file that can be read, else nothing. `check` is given the bytes so far, now and then."""
    settings = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                ["git", *settings, *arguments],
                stdin=subprocess.DEVNULL, stdout=output, stderr=errors, env=environment, start_new_session=True,
            )  # fmt: skip
        except FileNotFoundError:
            raise SourceError(
                "the program git is not installed; install it, or use kind: http with an archive"
            ) from None
        try:
            wait_for(process, output, errors, check)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # its helpers for https and ssh too
                process.wait()
        if process.returncode:
            raise GitError(last_words(errors))
        if not output.readable():
            return b""
        output.seek(0)
        return output.read()


def wait_for(
    process: subprocess.Popen[bytes], output: BinaryIO, errors: BinaryIO, check: Callable[[int], None]
) -> None:
    """Returns when git has ended; raises GitError if it has written nothing for too long."""
    heard, heard_at = -1, time.monotonic()
    while True:
        try:
            process.wait(WATCH_SECONDS)
            ended = True
        except subprocess.TimeoutExpired:
            ended = False
        written = os.fstat(output.fileno()).st_size
        check(written)
        if ended:
            return
        said = written + os.fstat(errors.fileno()).st_size
        if said != heard:
            heard, heard_at = said, time.monotonic()
        elif time.monotonic() - heard_at > STALLED_SECONDS:
            raise GitError(f"nothing for {STALLED_SECONDS:g} s: connection timed out")


def last_words(errors: BinaryIO) -> str:
    """What git says is wrong, without its progress; without secrets."""
    errors.seek(0)
    lines = re.split(r"[\r\n]+", errors.read()[-20_000:].decode("utf-8", "replace"))
    telling = [line for line in lines if re.match(r"(?i)(fatal|error|remote: error|ssh|.*permission denied)", line)]
    return masked(" ".join((telling or lines)[-3:]).strip())[:300] or "nothing"


def environment_for(url: str) -> dict[str, str]:
    """The caller's environment without what would lead git elsewhere or let it ask, and with the URL's password."""
    given = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("GIT_", "SSH_ASKPASS")) or name.startswith(PASSED_ON)
    }
    given |= {"GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": "file:http:https:ssh", "LC_ALL": "C"}
    given.setdefault("GIT_SSH_COMMAND", "ssh -o BatchMode=yes -o ConnectTimeout=30 -o ServerAliveInterval=15")
    parts = urlsplit(with_variables(url))
    if parts.scheme in ("http", "https") and "@" in parts.netloc:
        login = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}".encode()
        count = int(given.get("GIT_CONFIG_COUNT", "0"))
        given |= {
            "GIT_CONFIG_COUNT": str(count + 1),
            f"GIT_CONFIG_KEY_{count}": f"http.{parts.scheme}://{parts.netloc.rpartition('@')[2]}/.extraHeader",
            f"GIT_CONFIG_VALUE_{count}": f"Authorization: Basic {base64.b64encode(login).decode()}",
        }
    return given
