"""PDF and DOCX: one document a file, read in a process of its own, whose memory and time are limited."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from minimind.corpus import records
from minimind.corpus.expanding import Budget
from minimind.corpus.records import Place, UnfitError, iso_date, make_document
from minimind.corpus.sources.protocol import Item

PROGRAM = Path(__file__).with_name("office_process.py")
MAX_MEMORY_BYTES = 2 << 30
MAX_SECONDS = 120  # of processor time for one file


def read_office(stream: BinaryIO, suffix: str, place: Place, budget: Budget) -> Iterator[Item]:
    """The file as one document, with title and date from its own properties; raises UnfitError or TooLargeError."""
    question = {
        "path": os.fspath(stream.name),
        "suffix": suffix,
        "max_text_bytes": records.MAX_DOCUMENT_BYTES,
        "max_expanded_bytes": budget.left,
    }
    answer = OFFICE.ask(question)
    budget.spend(answer.get("expanded_bytes", 0))
    if "problem" in answer:
        raise UnfitError(answer["problem"])
    date = iso_date(answer["date"])
    yield make_document({"id": place.whole, "text": answer["text"], "title": answer["title"], "date": date}, place)


class OfficeProcess:
    """Asks one process after the other: each is kept until a file kills it, and ends with this one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """The answer of `office_process.py`; raises UnfitError if the file is too much for it."""
        with self._lock:
            process = self._running()
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(json.dumps(question).encode() + b"\n")
                process.stdin.flush()
                answer = process.stdout.readline()
            except BrokenPipeError:
                answer = b""
            if answer.endswith(b"\n"):
                parsed: dict[str, Any] = json.loads(answer)
                return parsed
            self._end()
            raise UnfitError(
                f"reading it failed within {MAX_MEMORY_BYTES >> 30} GiB of memory and {MAX_SECONDS} s; "
                "it is damaged, or too large: save it anew, or split it"
            )

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._end()
            limits = [str(MAX_MEMORY_BYTES), str(MAX_SECONDS)]
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(PROGRAM), *limits],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        return self._process

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


OFFICE = OfficeProcess()
