"""CSV, HTML, PDF, DOCX and compressed files: what becomes of their text, title and date."""

import csv
import gzip
import io
import json
import subprocess
import sys
import time

import docx
import psutil
import pytest
import zstandard
from office_files import docx_bytes, pdf_bytes, with_body

from minimind.errors import SourceError

PAGE = """<!DOCTYPE html><html><head><title>  The
 Act </title><meta charset="utf-8"><meta name="DC.date" content="2024-05-31"></head><body>
<nav><a href="/">Home</a> <a href="/all">All acts</a></nav>
<article><h1>Part 1</h1><p>The tenant pays the <b>rent</b>
on the first day of the month.</p><ul><li>in cash,<ul><li>in coins</li></ul></li><li>by transfer</li></ul>
<table><tr><td>Month</td><td>Rent</td></tr><tr><td>May</td><td>900</td></tr></table>
<p>First line<br>second line.</p><pre>keep  this
  as it is</pre></article><footer>Imprint and privacy</footer></body></html>"""


def one(tmp_path, build_corpus, read, name, content):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    (row,) = read(build_corpus(tmp_path / name))
    return row


# --- compression ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", ["gz", "zst"])
@pytest.mark.parametrize("form", ["txt", "md", "jsonl", "csv", "html", "htm"])
def test_every_format_of_lines_and_text_may_be_compressed(tmp_path, build_corpus, read, form, compression):
    plain = {
        "jsonl": json.dumps({"id": "a", "text": "A duty."}),
        "csv": "id,text\na,A duty.\n",
        "html": "<p>A duty.</p>",
        "htm": "<p>A duty.</p>",
    }.get(form, "A duty.")
    packed = (gzip.compress if compression == "gz" else zstandard.compress)(plain.encode())
    name = f"law.{form}.{compression}"
    row = one(tmp_path, build_corpus, read, name, packed)
    assert row["text"] == "A duty."
    assert row["document_id"] == ("own/a" if form in ("jsonl", "csv") else f"own/{name}")


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
def test_compressed_parts_in_one_file_are_all_read(tmp_path, build_corpus, read, compress):
    lines = [json.dumps({"id": str(number), "text": "A duty."}).encode() + b"\n" for number in range(3)]
    name = "laws.jsonl.gz" if compress is gzip.compress else "laws.jsonl.zst"
    (tmp_path / name).write_bytes(b"".join(map(compress, lines)))
    assert len(read(build_corpus(tmp_path / name))) == 3


# --- CSV --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_csv_gives_all_fields_whatever_separates_them(tmp_path, build_corpus, read, delimiter):
    sink = io.StringIO()
    rows = csv.writer(sink, delimiter=delimiter)
    rows.writerow(["no", "id", "text", "title", "source", "license", "date"])
    rows.writerow(["1", "a", 'A "duty", in\ntwo lines; or | more\there', "Duty", "gazette", "CC0-1.0", "2024-05-31"])
    rows.writerow(["2", "b", "Zoë.", "", "", "", ""])
    (tmp_path / "laws.csv").write_text("\ufeff" + sink.getvalue())
    manifest = build_corpus(tmp_path / "laws.csv")
    assert [{**row, "source": None} for row in read(manifest)] == [
        {
            "document_id": "own/a",
            "text": 'A "duty", in\ntwo lines; or | more\there',
            "source": None,
            "title": "Duty",
            "license": "CC0-1.0",
            "metadata": {"path": "laws.csv", "origin": "gazette", "date": "2024-05-31"},
        },
        {
            "document_id": "own/b",
            "text": "Zoë.",
            "source": None,
            "title": None,
            "license": None,
            "metadata": {"path": "laws.csv"},
        },
    ]
    assert manifest.counts["unreadable"] == 0


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("name,text", "it has no column id; its columns are name, text. Rename or add what is missing"),
        ("name;body", "it has no column id and none text; its columns are name, body. Rename"),
        ("id,text,text", "it has the column text twice"),
    ],
)
def test_csv_without_its_columns_is_said_in_one_sentence(tmp_path, build_corpus, header, said):
    (tmp_path / "laws.csv").write_text(f"{header}\n1,2,3\n")
    with pytest.raises(SourceError) as error:
        build_corpus(tmp_path / "laws.csv")
    assert f"laws.csv: {said}" in str(error.value)


def test_csv_field_may_be_as_long_as_a_document(tmp_path, build_corpus, read):
    row = one(tmp_path, build_corpus, read, "laws.csv", f"id,text\na,{'x' * 1_000_000}\n")
    assert len(row["text"]) == 1_000_000


# --- HTML -------------------------------------------------------------------------------------------------------------


def test_page_gives_its_main_text_title_and_date(tmp_path, build_corpus, read):
    row = one(tmp_path, build_corpus, read, "act.html", PAGE)
    assert row["document_id"] == "own/act.html"
    assert row["title"] == "The Act"
    assert row["metadata"] == {"path": "act.html", "date": "2024-05-31"}
    assert row["text"].split("\n\n") == [
        "Part 1",
        "The tenant pays the rent on the first day of the month.",
        "- in cash,\n  - in coins\n- by transfer",
        "Month | Rent\nMay | 900",
        "First line\nsecond line.",
        "keep  this\n  as it is",
    ]


def test_page_in_the_encoding_that_it_declares(tmp_path, build_corpus, read):
    page = '<meta http-equiv="Content-Type" content="text/html; charset=iso-8859-2"><p>Zażółć gęślą jaźń</p>'
    row = one(tmp_path, build_corpus, read, "act.html", page.encode("iso-8859-2"))
    assert row["text"] == "Zażółć gęślą jaźń"
    assert row["metadata"]["encoding"] == "iso8859-2"


def test_control_characters_of_a_page_are_left_out(tmp_path, build_corpus, read):
    text = "The tenant\0 pays\x0b the&#1; rent&#x1F; on&#0012; the &#160;first&#10;day&#x9;."
    row = one(tmp_path, build_corpus, read, "act.html", f"<article><p>{text}</p><p>A second\x01 one.</p></article>")
    assert row["text"] == "The tenant pays the rent on the first day .\n\nA second one."


def test_page_that_states_no_true_date_has_none(tmp_path, build_corpus, read):
    row = one(tmp_path, build_corpus, read, "act.html", PAGE.replace("2024-05-31", "last May"))
    assert "date" not in row["metadata"]


def test_page_without_a_main_text_is_read_whole_and_that_is_counted(tmp_path, build_corpus, read, monkeypatch):
    monkeypatch.setattr("trafilatura.bare_extraction", lambda *_, **__: None)
    (tmp_path / "act.html").write_text(PAGE)
    manifest = build_corpus(tmp_path / "act.html")
    (row,) = read(manifest)
    assert "All acts" in row["text"]
    assert "rent" in row["text"]
    said = "no main text found in the page, all of it read"
    assert row["metadata"]["repaired"] == said
    assert manifest.details["sources"]["own"]["repaired"] == {said: 1}


# --- PDF and DOCX -----------------------------------------------------------------------------------------------------


def test_pdf_gives_the_text_of_its_pages_title_and_date(tmp_path, build_corpus, read):
    row = one(tmp_path, build_corpus, read, "a.pdf", pdf_bytes("First page,\ntwo lines.", "Zweite.", title="A lease"))
    assert row["text"] == "First page,\ntwo lines.\fZweite."
    assert row["title"] == "A lease"
    assert len(row["metadata"]["date"]) == len("2026-05-31")


def test_word_hyphenated_at_the_end_of_a_pdf_line_is_whole_again(tmp_path, build_corpus, read):
    content = pdf_bytes("The tenant pays the remune-\nration on a well-known\nday.")
    row = one(tmp_path, build_corpus, read, "a.pdf", content)
    assert row["text"] == "The tenant pays the remuneration on a well-known\nday."


def test_docx_gives_paragraphs_and_tables_in_their_order(tmp_path, build_corpus, read):
    document = docx.Document()
    document.add_heading("Lease", 1)
    document.add_paragraph("Between A and B.")
    table = document.add_table(2, 2)
    for cell, text in zip(
        [cell for row in table.rows for cell in row.cells], ["Month", "Rent", "May", "900"], strict=True
    ):
        cell.text = text
    document.add_paragraph("Signed.")
    content = docx_bytes(document=document, title="A lease", modified="2024-05-31T10:00:00")
    row = one(tmp_path, build_corpus, read, "lease.docx", content)
    assert row["text"] == "Lease\n\nBetween A and B.\n\nMonth | Rent\nMay | 900\n\nSigned."
    assert row["title"] == "A lease"
    assert row["metadata"] == {"path": "lease.docx", "date": "2024-05-31"}


def test_docx_reads_as_if_all_changes_were_accepted(tmp_path, build_corpus, read):
    def run(text):
        return f'<w:r><w:t xml:space="preserve">{text}</w:t></w:r>'

    body = (
        f"<w:p>{run('The rent is ')}<w:del><w:r><w:delText>900</w:delText></w:r></w:del><w:ins>{run('950')}</w:ins>"
        f"{run(' a month')}<w:moveFrom>{run(' gone')}</w:moveFrom>.</w:p>"
        f"<w:sdt><w:sdtContent><w:p>{run('From a form.')}</w:p></w:sdtContent></w:sdt>"
        f"<w:p>{run('a')}<w:r><w:tab/></w:r>{run('b')}<w:r><w:br/></w:r>{run('c')}</w:p>"
    )
    row = one(tmp_path, build_corpus, read, "lease.docx", with_body(body))
    assert row["text"] == "The rent is 950 a month\n\nFrom a form.\n\na\tb\nc"


def test_reader_of_pdfs_ends_with_the_process_that_started_it(tmp_path):
    (tmp_path / "a.pdf").write_bytes(pdf_bytes("Text."))
    code = """
import os, signal, sys
from minimind.corpus.formats.office import OFFICE
OFFICE.ask({"path": sys.argv[1], "suffix": ".pdf", "max_text_bytes": 100, "max_expanded_bytes": 100})
print(OFFICE._process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "a.pdf"], capture_output=True, text=True, check=False)
    for _ in range(100):
        if not psutil.pid_exists(int(done.stdout)):
            break
        time.sleep(0.1)
    else:
        pytest.fail("the reader outlives its parent")


def test_one_process_reads_many_pdfs(tmp_path, build_corpus, read):
    from minimind.corpus.formats.office import OFFICE

    for number in range(20):
        (tmp_path / f"{number}.pdf").write_bytes(pdf_bytes(f"Page {number}."))
    build_corpus(tmp_path / "0.pdf")
    before = OFFICE._process.pid
    assert len(read(build_corpus(tmp_path / "*.pdf"))) == 20
    assert OFFICE._process.pid == before
