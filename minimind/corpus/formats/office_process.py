"""Reads PDF and DOCX files for `office.py`: a line of JSON with a question in, a line with the answer out.

The libraries that read these formats can be made to take any amount of memory and time, or to crash, by a file of a
few kilobytes. So they run here, and the limits kill this process only. It ends when its standard input does. Run as
a program, it knows nothing of the package.
"""

import contextlib
import json
import os
import re
import resource
import signal
import sys
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

MAX_XML_BYTES = 100_000_000  # of the text of a DOCX, expanded
DAMAGED_DOCX = (
    KeyError, ValueError, TypeError, AttributeError, OSError, EOFError, NotImplementedError, zipfile.BadZipFile,
    zlib.error,
)  # fmt: skip
WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"


class RefusedError(Exception):
    """A file that is not read; carries the reason in words."""


def main(max_memory_bytes: int, max_seconds: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (max_memory_bytes, max_memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # whatever a library prints is no answer
    for line in sys.stdin:
        question = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, max_seconds)  # at its end the signal kills
        try:
            answer = read(**question)
        except RefusedError as problem:
            answer = {"problem": str(problem)}
        json.dump(answer, answers)
        answers.write("\n")
        answers.flush()


def read(path: str, suffix: str, max_text_bytes: int, max_expanded_bytes: int) -> dict[str, Any]:
    """`text`, `title`, `date` (ISO or empty), or `problem`; and `expanded_bytes`."""
    if suffix == ".pdf":
        return read_pdf(path, max_text_bytes)
    return read_docx(path, max_text_bytes, max_expanded_bytes)


def joined(parts: Iterator[str], separator: str, max_text_bytes: int) -> str:
    """The parts that are not blank; raises RefusedError as soon as they are too long together."""
    kept, length = [], 0
    for part in parts:
        length += len(part.encode()) + len(separator)
        if length > max_text_bytes:
            raise RefusedError(f"its text has more than {max_text_bytes:,} bytes; split it")
        if part.strip():
            kept.append(part)
    return separator.join(kept)


# --- PDF --------------------------------------------------------------------------------------------------------------


def read_pdf(path: str, max_text_bytes: int) -> dict[str, Any]:
    import pypdfium2

    try:
        pdf = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower():
            raise RefusedError("it is encrypted; save it without a password") from None
        raise RefusedError(f"it is damaged or no PDF: {error}") from None
    try:
        text = joined(pages_of(pdf), "\f", max_text_bytes)
        if not text:
            raise RefusedError(
                f"it has no text on its {len(pdf):,} pages, which may be pictures; run text recognition over it first"
            )
        properties = pdf.get_metadata_dict()
        date = properties.get("ModDate") or properties.get("CreationDate") or ""
        return {"text": text, "title": " ".join(properties.get("Title", "").split()), "date": date_of_pdf(date)}
    except pypdfium2.PdfiumError as error:
        raise RefusedError(f"it is damaged: {error}") from None
    finally:
        pdf.close()


def pages_of(pdf: Any) -> Iterator[str]:
    """The text of each page in its lines; words that were hyphenated at a line's end are whole again."""
    for number in range(len(pdf)):
        page = pdf[number]
        content = page.get_textpage()
        text = content.get_text_range().replace("\r\n", "\n").replace("\r", "\n")
        content.close()
        page.close()
        yield re.sub(r"[\x02\ufffe]\n?", "", text)  # as pdfium marks such hyphens


def date_of_pdf(text: str) -> str:
    found = re.match(r"(?:D:)?(\d{4})(\d\d)(\d\d)", text)
    return "-".join(found.groups()) if found else ""


# --- DOCX -------------------------------------------------------------------------------------------------------------


def read_docx(path: str, max_text_bytes: int, max_expanded_bytes: int) -> dict[str, Any]:
    import docx
    from docx.exceptions import PythonDocxError
    from docx.opc.exceptions import OpcError
    from lxml.etree import LxmlError

    try:
        expanded = checked_size(path, max_expanded_bytes)
        if expanded > max_expanded_bytes:
            return {"expanded_bytes": expanded}
        document = docx.Document(path)
        text = joined(blocks_of(document.element.body), "\n\n", max_text_bytes)
        properties = document.core_properties
        title, modified = " ".join(properties.title.split()), properties.modified
    except (*DAMAGED_DOCX, PythonDocxError, OpcError, LxmlError) as error:
        raise RefusedError(f"it is damaged or no DOCX: {' '.join(str(error).split())[:200]}") from None
    if not text:
        raise RefusedError("it has no text")
    date = modified.date().isoformat() if modified else ""
    return {"text": text, "title": title, "date": date, "expanded_bytes": expanded}


def checked_size(path: str, max_expanded_bytes: int) -> int:
    """What the parts of the DOCX expand to, together; zipfile gives no more than they declare."""
    with zipfile.ZipFile(path) as parts:
        infos = parts.infolist()
    if any(info.filename == "EncryptedPackage" for info in infos):
        raise RefusedError("it is encrypted; save it without a password")
    if any(info.file_size > MAX_XML_BYTES and info.filename.endswith((".xml", ".rels")) for info in infos):
        raise RefusedError(f"one of its parts expands to more than {MAX_XML_BYTES:,} bytes of XML; split it")
    return sum(info.file_size for info in infos)


def blocks_of(body: Any) -> Iterator[str]:
    """Paragraphs and tables in their order, those inside content controls and insertions too."""
    for element in body:
        if element.tag == f"{WORD}p":
            yield paragraph_text(element)
        elif element.tag == f"{WORD}tbl":
            yield "\n".join(" | ".join(cells_of(row)) for row in element.iter(f"{WORD}tr"))
        elif element.tag not in (f"{WORD}sectPr", f"{WORD}moveFrom", f"{WORD}del"):
            yield from blocks_of(element)


def cells_of(row: Any) -> Iterator[str]:
    for cell in row.iter(f"{WORD}tc"):
        yield " ".join(" ".join(map(paragraph_text, cell.iter(f"{WORD}p"))).split())


def paragraph_text(paragraph: Any) -> str:
    """The text as it reads once all changes are accepted."""
    return "".join(pieces_of(paragraph)).strip()


def pieces_of(element: Any) -> Iterator[str]:
    signs = {f"{WORD}tab": "\t", f"{WORD}br": "\n", f"{WORD}cr": "\n", f"{WORD}noBreakHyphen": "-"}
    left_out = {f"{WORD}del", f"{WORD}moveFrom", f"{WORD}pPr", f"{WORD}rPr", FALLBACK}
    for child in element:
        if child.tag == f"{WORD}t":
            yield child.text or ""
        elif child.tag in signs:
            yield signs[child.tag]
        elif child.tag not in left_out:
            yield from pieces_of(child)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main(int(sys.argv[1]), int(sys.argv[2]))
