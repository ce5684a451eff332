"""PDF and DOCX files for the tests, good and bad."""

import io
import zipfile
import zlib
from datetime import datetime

import docx
from docx.document import Document
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfgen.canvas import Canvas

WORD = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def pdf_bytes(*pages: str, title: str = "", password: str | None = None) -> bytes:
    """A PDF with the lines of each text on a page of its own; without text, a page with a picture of none."""
    sink = io.BytesIO()
    canvas = Canvas(sink, encrypt=StandardEncryption(password) if password else None)
    canvas.setTitle(title)
    for page in pages:
        for number, line in enumerate(page.splitlines()):
            canvas.drawString(72, 720 - 14 * number, line)
        canvas.rect(10, 10, 100, 100, fill=1)
        canvas.showPage()
    canvas.save()
    return sink.getvalue()


def docx_bytes(*paragraphs: str, document: Document | None = None, title: str = "", modified: str = "") -> bytes:
    """A DOCX of the paragraphs, or of a document made by the caller."""
    document = document or docx.Document()
    for paragraph in paragraphs:
        document.add_paragraph(paragraph)
    document.core_properties.title = title
    if modified:
        document.core_properties.modified = datetime.fromisoformat(modified)
    sink = io.BytesIO()
    document.save(sink)
    return sink.getvalue()


def with_body(xml: str) -> bytes:
    """A DOCX whose body is this WordprocessingML."""
    return replaced_part(docx_bytes(), f"<w:document {WORD}><w:body>{xml}</w:body></w:document>".encode())


def replaced_part(content: bytes, document: bytes) -> bytes:
    """The DOCX with other bytes for its main part."""
    sink = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as before, zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as after:
        for name in before.namelist():
            after.writestr(name, document if name == "word/document.xml" else before.read(name))
    return sink.getvalue()


def pdf_bomb(expanded_bytes: int) -> bytes:
    """A PDF of one page whose content is some text and very many spaces."""
    packer = zlib.compressobj(9)
    stream = packer.compress(b"BT /F1 12 Tf 10 10 Td (x) Tj ET\n")
    for _ in range(expanded_bytes // 1_000_000):
        stream += packer.compress(b" " * 1_000_000)
    stream += packer.flush()
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>"
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        page,
        b"<</Length %d/Filter/FlateDecode>>stream\n%b\nendstream" % (len(stream), stream),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    content, offsets = b"%PDF-1.4\n", []
    for number, each in enumerate(objects, 1):
        offsets.append(len(content))
        content += b"%d 0 obj%bendobj\n" % (number, each)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    end = b"trailer<</Size 6/Root 1 0 R>>startxref\n%d\n%%%%EOF" % len(content)
    return content + b"xref\n0 6\n0000000000 65535 f \n" + table + end
