"""Every row on sources in the table of bad input in docs/cleaning.md: what happens, and what it is counted as."""

import gzip
import hashlib
import json
import subprocess
import sys
import textwrap

import docx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from office_files import docx_bytes, pdf_bomb, pdf_bytes, replaced_part, with_body
from packed import pack

from minimind.corpus.document import DocumentWriter
from minimind.corpus.records import Place, make_document, noted
from minimind.errors import SourceError

BOTH = "NUL characters removed; halves of surrogate pairs replaced by U+FFFD"
NOT_FOUND = "<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head><body><h1>Not Found</h1></body></html>"


@pytest.fixture
def problem_of(tmp_path, build_corpus, texts):
    """(name, content) -> what is said of the file beside a good one, which is read all the same."""

    def problem(name, content, **limits):
        (tmp_path / "good.txt").write_text("Good.")
        (tmp_path / name).write_bytes(content)
        manifest = build_corpus(tmp_path / "*", max_unreadable_share=0.999, **limits)
        assert texts(manifest)["own/good.txt"] == "Good."
        (listed,) = manifest.details["unreadable"]
        assert manifest.counts["unreadable"] == 1
        assert listed["path"] == str(tmp_path / name)
        return listed["problem"]

    return problem


def lines(count):
    return b"".join(
        json.dumps({"id": f"i{number}", "text": f"Text {number} " * 50}).encode() + b"\n" for number in range(count)
    )


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
def test_documents_before_the_end_of_a_cut_off_file_stay(tmp_path, build_corpus, texts, problem_of, compress):
    name = "laws.jsonl.gz" if compress is gzip.compress else "laws.jsonl.zst"
    content = compress(lines(20_000))
    said = problem_of(name, content[: len(content) // 2])
    count = len(texts(build_corpus(tmp_path / name, max_unreadable_share=1)))
    assert 0 < count < 20_000
    assert said.startswith("it is damaged or cannot be read: ")
    assert said.endswith(f"(the {count:,} documents before that stay)")
    assert len(texts(build_corpus(tmp_path / name, max_unreadable_share=1))) == count


@pytest.mark.parametrize(("name", "compress"), [("a.jsonl.gz", gzip.compress), ("a.jsonl.zst", zstandard.compress)])
def test_little_is_lost_of_a_file_that_is_cut_off_at_its_end(tmp_path, build_corpus, texts, name, compress):
    (tmp_path / "good.txt").write_text("Good.")
    written = b"".join(
        json.dumps({"id": f"i{number}", "text": hashlib.sha256(b"%d" % number).hexdigest() * 4}).encode() + b"\n"
        for number in range(3_000)
    )
    (tmp_path / name).write_bytes(compress(written)[:-1_000])
    assert len(texts(build_corpus(tmp_path / "*", max_unreadable_share=1))) > 2_500


def test_documents_before_what_is_no_gzip_stay(tmp_path, build_corpus, texts, problem_of):
    said = problem_of("laws.jsonl.gz", gzip.compress(lines(3)) + b"junk")
    assert said.endswith("(the 3 documents before that stay)")


@pytest.mark.parametrize("content", [lines(50).replace(b"\n", b"\r"), b"[" + lines(50).replace(b"\n", b",\n") + b"]"])
def test_file_without_one_readable_line_is_lost_as_a_file(tmp_path, build_corpus, content):
    (tmp_path / "good.jsonl").write_bytes(lines(500).replace(b'"id": "i', b'"id": "j'))
    (tmp_path / "other.jsonl").write_bytes(content)
    with pytest.raises(SourceError, match=r"1 of 2 files \(50.00%\) cannot be read"):
        build_corpus(tmp_path / "*", max_unreadable_share=0.2)
    (tmp_path / "second.jsonl").write_bytes(content)  # each is counted, one after another
    with pytest.raises(SourceError, match=r"2 of 3 files \(66.67%\) cannot be read"):
        build_corpus(tmp_path / "*", max_unreadable_share=0.6)


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
def test_cut_off_text_is_no_document(problem_of, compress):
    name = "law.txt.gz" if compress is gzip.compress else "law.txt.zst"
    content = compress(lines(1_000))
    assert problem_of(name, content[: len(content) // 2]).startswith("it is damaged or cannot be read: ")


@pytest.mark.parametrize("name", ["laws.jsonl.gz", "laws.txt.gz", "laws.csv.zst", "laws.html.zst"])
def test_compressed_file_that_expands_too_far_is_left(problem_of, name):
    header = b"" if name.startswith("laws.jsonl") else b"id,text\n"  # which is no JSON
    content = (gzip.compress if name.endswith(".gz") else zstandard.compress)(header + b"\n" * 3_000_000)
    said = problem_of(name, content, max_expanded_bytes=1_000_000)
    assert "it expands to more than 1,000,000 bytes, which corpus.max_expanded_bytes permits" in said


def test_docx_that_expands_too_far_is_left(problem_of):
    content = with_body(f"<w:p><w:r><w:t>{'x' * 3_000_000}</w:t></w:r></w:p>")
    assert len(content) < 100_000
    assert "expands to more than 1,000,000 bytes" in problem_of("a.docx", content, max_expanded_bytes=1_000_000)


def test_docx_with_very_much_xml_is_left(problem_of):
    content = with_body("<w:p/>" * 20_000_000)
    said = problem_of("a.docx", content, max_expanded_bytes=10**9)
    assert said == "one of its parts expands to more than 100,000,000 bytes of XML; split it"


def test_pdf_that_takes_too_much_memory_is_left_and_the_next_is_read(
    tmp_path, build_corpus, texts, problem_of, monkeypatch
):
    monkeypatch.setattr("minimind.corpus.formats.office.OFFICE", fresh_process(monkeypatch, 400 << 20))
    (tmp_path / "z.pdf").write_bytes(pdf_bytes("Read all the same."))
    said = problem_of("a.pdf", pdf_bomb(400_000_000))
    assert said.startswith("reading it failed within ")
    assert "own/z.pdf" in texts(build_corpus(tmp_path / "*", max_unreadable_share=0.999))


def fresh_process(monkeypatch, memory_bytes):
    from minimind.corpus.formats.office import OfficeProcess

    monkeypatch.setattr("minimind.corpus.formats.office.MAX_MEMORY_BYTES", memory_bytes)
    return OfficeProcess()


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (
            {"id": ["x"], "body": ["y"]},
            "it has no column text; its columns are id, body. Rename or add what is missing",
        ),
        ({"a": ["x"]}, "it has no column id and none text; its columns are a. Rename or add what is missing"),
    ],
)
def test_parquet_with_a_missing_column_is_left(problem_of, columns, said):
    assert problem_of("laws.parquet", as_parquet(columns)) == said


@pytest.mark.parametrize("name", ["laws.jsonl", "law.txt", "laws.csv", "laws.jsonl.gz"])
def test_line_of_200_mb_is_left_in_bounded_memory(tmp_path, name):
    """In a process of its own, whose peak is that of this file alone."""
    code = textwrap.dedent("""
        import gzip, resource, sys
        from pathlib import Path
        from minimind.corpus.files import FileOnDisk, read_file
        from minimind.corpus.globs import MemberGlobs
        from minimind.corpus.records import Place
        from minimind.corpus.sources.protocol import Meter

        path = Path(sys.argv[1])
        opened = gzip.open(path, "wb", 1) if path.suffix == ".gz" else path.open("wb")
        with opened as handle:
            handle.write(b'{"id": "a", "text": "' if "jsonl" in path.name else b'id,text\\na,"')
            for _ in range(200):
                handle.write(b"x" * 1_000_000)
            handle.write(b'"}\\n{"id": "b", "text": "Next."}\\n')
        place = Place("own", path.name, path.name, "file", metadata={"path": path.name})
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        for item in read_file(FileOnDisk(path, place, "", MemberGlobs(["**"]), 10**9, Meter())):
            print(type(item).__name__, *([item.line, item.problem] if hasattr(item, "problem") else []))
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10) - before)
    """)
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / name)], capture_output=True, text=True, check=True
    )
    unreadable, *rest, peak = done.stdout.splitlines()
    assert unreadable.startswith("Unreadable ")
    assert "more than 100,000,000 bytes" in unreadable
    assert rest == (["DocumentBatch", "FileRead"] if "jsonl" in name else ["FileRead"])
    assert int(peak) < 250  # MB: the longest line that is allowed, and a copy of it


def as_parquet(columns):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.parquet", as_parquet({"id": ["a", "b"], "text": ["é" * 60, "b"]}), "it has"),
        ("a.parquet", as_parquet({"id": ["a", "b"], "text": ["x" * 60, "b"], "title": ["x" * 60, "b"]}), "it has"),
        ("a.txt", ("e" * 2000 + "é" * 60).encode("latin-1"), "it has"),
        ("a.pdf", pdf_bytes("é" * 60), "its text has"),
        ("a.docx", docx_bytes("é" * 60), "its text has"),
    ],
    ids=["text", "row", "encoding", "pdf", "docx"],
)
def test_document_is_measured_in_bytes_as_it_is_stored(
    tmp_path, build_corpus, problem_of, monkeypatch, name, content, said
):
    limit = 2100 if name == "a.txt" else 110
    monkeypatch.setattr("minimind.corpus.records.MAX_DOCUMENT_BYTES", limit)
    assert problem_of(name, content) == f"{said} more than {limit:,} bytes; split it"
    monkeypatch.setattr("minimind.corpus.records.MAX_DOCUMENT_BYTES", limit + 100)
    assert build_corpus(tmp_path / name).counts["unreadable"] == 0


def test_long_rows_of_a_parquet_are_held_a_few_at_a_time(tmp_path, build_corpus, read, monkeypatch):
    monkeypatch.setattr("minimind.corpus.formats.parquet_rows.BATCH_BYTES", 3_000_000)
    sizes = []
    batches = pq.ParquetFile.iter_batches
    monkeypatch.setattr(
        "pyarrow.parquet.ParquetFile.iter_batches",
        lambda table, batch_size, columns: sizes.append(batch_size) or batches(table, batch_size, columns=columns),
    )
    texts = [str(number) * 1_000_000 for number in range(8)]
    pq.write_table(pa.table({"id": list("abcdefgh"), "text": texts}), tmp_path / "long.parquet")
    pq.write_table(pa.table({"id": list("ijklmnop"), "text": ["x"] * 8}), tmp_path / "short.parquet")
    assert [row["text"] for row in read(build_corpus(tmp_path / "*.parquet"))] == texts + ["x"] * 8
    assert 1 <= min(sizes) <= 3
    assert max(sizes) == 512


@pytest.mark.parametrize("text", ["x", "y" * 50_000_000], ids=["one character", "50 MB"])
@pytest.mark.parametrize("name", ["law.txt", "laws.jsonl"])
def test_very_short_and_very_long_documents_are_read(tmp_path, build_corpus, read, name, text):
    (tmp_path / name).write_text(json.dumps({"id": "a", "text": text}) if "jsonl" in name else text)
    (row,) = read(build_corpus(tmp_path / name))
    assert row["text"] == text


@pytest.mark.parametrize(
    ("name", "content", "text", "done"),
    [
        ("a.txt", b"A du\0ty." + b" " * 200, "A duty." + " " * 200, "NUL characters removed"),
        ("a.jsonl", rb'{"id": "a", "text": "A du\u0000ty."}', "A duty.", "NUL characters removed"),
        ("a.csv", b"id,text,title\na,A du\0ty.," + b"t" * 200, "A duty.", "NUL characters removed"),
        (
            "a.jsonl",
            rb'{"id": "a", "text": "A \ud83d duty \ud83d\ude00."}',
            "A \ufffd duty \U0001f600.",
            "halves of surrogate pairs replaced by U+FFFD",
        ),
        ("a.jsonl", rb'{"id": "a", "text": "A \u0000\udc00duty."}', "A \ufffdduty.", BOTH),
        ("a.jsonl", rb'{"id": "a", "text": "A \u0000duty.", "title": "\ud83d"}', "A duty.", BOTH),
        ("a.jsonl", rb'{"id": "a", "text": "A \u0000duty.", "title": "A\u0000"}', "A duty.", "NUL characters removed"),
    ],
)
def test_what_no_text_has_is_taken_out_and_counted(tmp_path, build_corpus, read, name, content, text, done):
    (tmp_path / name).write_bytes(content)
    manifest = build_corpus(tmp_path / name)
    (row,) = read(manifest)
    assert row["text"] == text
    assert row["metadata"]["repaired"] == done
    assert manifest.details["sources"]["own"]["repaired"] == dict.fromkeys(done.split("; "), 1)


def test_repair_of_a_text_does_not_replace_what_was_noted_of_its_file():
    place = noted(Place("own", "a.html", "a.html", "file"), repaired="no main text found")
    assert make_document({"id": "a", "text": "A\0"}, place).metadata["repaired"] == (
        "no main text found; NUL characters removed"
    )


def test_pdf_without_text_is_left(problem_of):
    said = problem_of("scan.pdf", pdf_bytes("", ""))
    assert said == "it has no text on its 2 pages, which may be pictures; run text recognition over it first"


def test_encrypted_pdf_is_left(problem_of):
    assert problem_of("a.pdf", pdf_bytes("Hidden.", password="x")) == "it is encrypted; save it without a password"


@pytest.mark.parametrize("name", ["a.pdf", "a.docx"])
def test_damaged_office_file_is_left(problem_of, name):
    content = pdf_bytes("Text.") if name == "a.pdf" else docx_bytes("Text.")
    assert problem_of(name, content[: len(content) // 3]).startswith("it is damaged or no ")


def test_docx_with_damaged_xml_or_without_text_is_left(problem_of):
    assert problem_of("a.docx", replaced_part(docx_bytes(), b"<w:document")).startswith("it is damaged or no DOCX: ")
    assert problem_of("a.docx", docx_bytes(document=docx.Document())) == "it has no text"


@pytest.mark.parametrize(
    "name", ["a.jsonl", "a.jsonl.gz", "a.parquet", "a.csv", "a.zip", "a.tar.gz", "a.pdf", "a.docx", "a.txt", "a.md"]
)
def test_error_page_saved_as_data_is_called_that(problem_of, name):
    said = problem_of(name, NOT_FOUND.encode())
    assert said.startswith("it is an HTML page ('404 Not Found'), as servers send in place of a file; ")


def test_error_page_inside_a_compressed_file_and_an_answer_in_xml_are_called_that(problem_of):
    assert problem_of("a.csv.zst", zstandard.compress(NOT_FOUND.encode())).startswith("it is an HTML page")
    answer = b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>'
    said = problem_of("a.csv.zst", answer)
    assert said.startswith(
        "it is an XML answer ('NoSuchKey'), as servers send in place of a file; .csv.zst was expected"
    )


def test_ragged_rows_of_a_csv_are_left_and_the_others_read(tmp_path, build_corpus, texts):
    content = 'id,text\na,One.\nb,Two,\n"c","Three\nlines\nlong."\nd\n\ne,"Fi"ve.\nf,Six.\n'
    (tmp_path / "laws.csv").write_text(content)
    manifest = build_corpus(tmp_path / "laws.csv", max_unreadable_share=0.9)
    assert texts(manifest) == {"own/a": "One.", "own/c": "Three\nlines\nlong.", "own/f": "Six."}
    assert [(listed["line"], listed["problem"].partition(";")[0]) for listed in manifest.details["unreadable"]] == [
        (3, "it has 3 fields, and the header has 2"),
        (7, "it has 1 fields, and the header has 2"),
        (9, "it is no valid CSV: ',' expected after '\"'"),
    ]


def test_header_that_is_no_csv_is_said(problem_of):
    said = problem_of("laws.csv", b"id,text\ra,Lines end as on old Macs.\r")
    assert said.startswith("its header is no valid CSV: new-line character seen in unquoted field")
    assert "it has no column id and none text" in problem_of("laws.csv", b"x" * 1_000_000)


def test_quote_that_is_never_closed_is_said(problem_of):
    said = problem_of("laws.csv", b'id,text\na,"One.\n' + b"b,Two.\n" * 100)
    assert said == "the quote opened in the row at line 2 is never closed"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", b""),
        ("a.txt", b" \n"),
        ("a.jsonl", b"\n\n"),
        ("a.csv", b""),
        ("a.csv", b"id,text\n"),
        ("a.html", b""),
        ("a.txt.gz", gzip.compress(b"", mtime=0)),
        ("a.jsonl.zst", zstandard.compress(b"")),
        ("a.jsonl.zst", b""),
    ],
)
def test_empty_file_is_skipped_and_counted(tmp_path, build_corpus, name, content):
    (tmp_path / "good.txt").write_text("Good.")
    (tmp_path / name).write_bytes(content)
    manifest = build_corpus(tmp_path / "*")
    assert manifest.details["sources"]["own"]["skipped"] == {"nothing in it": 1}
    assert manifest.counts["files"] == 2


def test_empty_members_and_archives_are_skipped_and_counted(tmp_path, build_corpus):
    pack(tmp_path / "a.zip", [("good.txt", "Good."), ("empty.txt", "")])
    pack(tmp_path / "b.zip", [])
    pack(tmp_path / "c.tar.gz", [])
    assert build_corpus(tmp_path / "*").details["sources"]["own"]["skipped"] == {"nothing in it": 3}


def test_too_many_unreadable_files_stop_the_run(tmp_path, build_corpus):
    (tmp_path / "good.txt").write_text("Good.")
    (tmp_path / "scan.pdf").write_bytes(pdf_bytes(""))
    with pytest.raises(SourceError, match=r"1 of 2 files \(50.00%\) cannot be read(.|\n)*run text recognition"):
        build_corpus(tmp_path / "*", max_unreadable_share=0.1)


@pytest.mark.parametrize("change", ["appended", "replaced", "removed"])
def test_file_that_changes_while_it_is_read_is_refused(tmp_path, build_corpus, store, monkeypatch, change):
    path = tmp_path / "laws.jsonl"
    path.write_bytes(b'{"id": "a", "text": "A duty."}\n')
    add = DocumentWriter.add

    def add_late(writer, document, text_bytes):
        add(writer, document, text_bytes)
        if change == "appended":
            with path.open("ab") as lines:
                lines.write(b'{"id": "b", "text": "Another."}\n')
        elif change == "replaced":
            other = tmp_path / "other"
            other.write_bytes(b'{"id": "b", "text": "Other."}\n')
            other.replace(path)
        else:
            path.unlink()

    monkeypatch.setattr(DocumentWriter, "add", add_late)
    with pytest.raises(
        SourceError, match=r"laws.jsonl has (changed while the corpus was read|just gone .*); run again"
    ):
        build_corpus(path)
    assert store.manifests("corpus") == []
