"""HTML: the main text of a page, without its menus, headers and footers; one document a file."""

import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from minimind.corpus.formats.encodings import as_utf8
from minimind.corpus.records import Place, UnfitError, iso_date, make_document, noted
from minimind.corpus.sources.protocol import Item

MAX_PAGE_BYTES = 20_000_000  # trafilatura reads no longer ones; a tree takes many times the memory
DATES = (  # names of <meta>, those that mean the text first
    "article:published_time", "datepublished", "dcterms.issued", "dc.date.issued", "dcterms.date", "dc.date",
    "dcterms.created", "date",
)  # fmt: skip
NO_XML = re.compile(  # control characters, which no tree may hold, and references to them
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]"
    r"|&#(?:[xX]0*(?:[0-8bcefBCEF]|1[0-9a-fA-F]|[fF]{3}[efEF])|0*(?:[0-8]|1[124-9]|2\d|3[01]|6553[45]))(?![\da-fA-F]);?"
)


def read_web_page(stream: BinaryIO, place: Place) -> Iterator[Item]:
    """The page as one document, none if the file is empty; raises UnfitError."""
    stream, decoder = as_utf8(stream)
    content = stream.read(MAX_PAGE_BYTES + 1)
    if len(content) > MAX_PAGE_BYTES:
        raise UnfitError(f"it has more than {MAX_PAGE_BYTES:,} bytes; split it")
    page, encoding = decoder.decode_page(content)
    if page and not page.isspace():
        yield page_document(page, noted(place, encoding=encoding))


def page_document(page: str, place: Place) -> Item:
    """The main text; where none is found, all text, which is noted."""
    import lxml.etree
    import lxml.html
    import trafilatura

    parser = lxml.html.HTMLParser(encoding="utf-8", remove_comments=True)
    try:
        tree = lxml.html.document_fromstring(NO_XML.sub("", page).encode(), parser=parser)
    except lxml.etree.ParserError as error:
        raise UnfitError(f"it is no HTML: {error}") from None
    found: Any = trafilatura.bare_extraction(tree, include_comments=False, with_metadata=False)
    text = text_of_blocks(found.body) if found is not None else ""
    if not text:
        text = trafilatura.html2txt(tree)
        place = noted(place, repaired="no main text found in the page, all of it read")
    if not text:
        raise UnfitError("it is a page without text")
    title = " ".join((tree.findtext(".//title") or "").split())
    return make_document({"id": place.whole, "text": text, "title": title, "date": date_of_page(tree)}, place)


def date_of_page(tree: Any) -> str | None:
    """The day that the page states in its <meta>, if it is one."""
    stated: dict[str, str] = {}
    for meta in tree.iter("meta"):
        name = meta.get("property") or meta.get("name") or meta.get("itemprop") or ""
        stated.setdefault(name.lower(), (meta.get("content") or "").strip())
    return next(filter(None, (iso_date(stated[name]) for name in DATES if name in stated)), None)


# --- trafilatura's tree as text ---------------------------------------------------------------------------------------


def text_of_blocks(body: Any) -> str:
    """Headings, paragraphs, lists, tables and code, with a blank line between them; a paragraph is one line."""
    return "\n\n".join(text for text in map(text_of_block, body) if text.strip())


def text_of_block(block: Any) -> str:
    match block.tag:
        case "list":
            return "\n".join(text_of_item(item, "") for item in block.iterchildren("item"))
        case "table":
            rows = ([words_in(cell) for cell in row.iterchildren("cell")] for row in block.iterchildren("row"))
            return "\n".join(" | ".join(row) for row in rows if any(row))
        case "code":
            return "".join(block.itertext()).strip("\n")
        case "quote" if len(block):
            return "\n\n".join(filter(None, [" ".join((block.text or "").split()), text_of_blocks(block)]))
        case "quote":
            return "".join(block.itertext()).strip("\n")  # <pre> without <code> comes as a quote
        case _:
            return words_in(block)


def text_of_item(item: Any, indent: str) -> str:
    """`- ` and the item's text, then the items of lists inside it, indented."""
    inner = [item_ for nested in item.iterchildren("list") for item_ in nested.iterchildren("item")]
    own = words_in(item, leave_out="list")
    return "\n".join([f"{indent}- {own}", *(text_of_item(each, f"{indent}  ") for each in inner)])


def words_in(element: Any, leave_out: str = "") -> str:
    """The text inside on one line, but for the line breaks that the page asks for."""
    return "\n".join(filter(None, (" ".join(line.split()) for line in "".join(pieces(element, leave_out)).split("\v"))))


def pieces(element: Any, leave_out: str) -> Iterator[str]:
    """Text with `\\v` for a line break."""
    yield element.text or ""
    for child in element:
        if child.tag == "lb":
            yield "\v"
        elif child.tag == "p":
            yield "\v"
            yield from pieces(child, leave_out)
            yield "\v"
        elif child.tag != leave_out:
            yield from pieces(child, leave_out)
        yield child.tail or ""
