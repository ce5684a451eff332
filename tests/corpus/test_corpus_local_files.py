"""Every format of local files: what becomes a document, and what is said of the rest."""

import datetime
import gzip
import json
import os
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from minimind.cleaning.database import numbered_files
from minimind.errors import CorpusTooSmallError, SourceError

DUTY = {"id": "a", "text": "A duty.", "title": "Duty", "source": "gazette", "license": "CC0-1.0", "date": "2024-05-31"}


def write_lines(path: Path, *records: object) -> Path:
    lines = [record if isinstance(record, bytes) else json.dumps(record).encode() for record in records]
    content = b"".join(line + b"\n" for line in lines)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def test_text_files_are_one_document_each_with_their_path_as_id(tmp_path, build_corpus, texts):
    (tmp_path / "laws/old").mkdir(parents=True)
    (tmp_path / "laws/one.txt").write_text("First law.\n")
    (tmp_path / "laws/old/two.MD").write_bytes(b"\xef\xbb\xbf# Second law\r\n")
    (tmp_path / "laws/.hidden.txt").write_text("no")
    manifest = build_corpus(f"{tmp_path}/laws/**")
    assert texts(manifest) == {"own/one.txt": "First law.\n", "own/old/two.MD": "# Second law\r\n"}


@pytest.mark.parametrize("name", ["laws.jsonl", "laws.jsonl.gz"])
def test_json_lines_give_all_fields(tmp_path, build_corpus, read, name):
    path = write_lines(tmp_path / name, DUTY, b"", {"id": 7, "text": "Zoë.", "title": None, "other": [1]})
    manifest = build_corpus(path)
    assert read(manifest) == [
        {
            "document_id": "own/7",
            "text": "Zoë.",
            "source": "own",
            "title": None,
            "license": None,
            "metadata": {"path": name},
        },
        {
            "document_id": "own/a",
            "text": "A duty.",
            "source": "own",
            "title": "Duty",
            "license": "CC0-1.0",
            "metadata": {"path": name, "origin": "gazette", "date": "2024-05-31"},
        },
    ]
    assert manifest.counts == {"documents": 2, "bytes": 12, "files": 1, "unreadable": 0, "excluded": 0}


def test_parquet_columns_are_read_like_json_fields(tmp_path, build_corpus, read):
    columns = {
        "id": pa.array([2, 1]),
        "text": pa.array(["Two.", "One."], pa.large_string()),
        "date": [datetime.date(2024, 1, 2), None],
        "score": [0.5, 0.1],
    }
    pq.write_table(pa.table(columns), tmp_path / "laws.parquet")
    rows = read(build_corpus(tmp_path / "laws.parquet"))
    assert [(row["document_id"], row["text"], row["metadata"].get("date")) for row in rows] == [
        ("own/1", "One.", None),
        ("own/2", "Two.", "2024-01-02"),
    ]


def test_dates_are_stored_as_the_survivor_rule_knows_them(tmp_path, build_corpus, read):
    stored = {
        "2026": "2026",
        "2026-05": "2026-05",
        "2026-05-31": "2026-05-31",
        "2026-05-31 10:00": "2026-05-31 10:00",
        "2026-05-31T10:00:00Z": "2026-05-31T10:00:00Z",
        "20260531": "2026-05-31",
        "2026W227": "2026-05-31",
        "2026-W22-7": "2026-05-31",
        "2026-W22": "2026-05-25",
        "20260531T1000": "2026-05-31T10:00:00",
        "2026-05-31_10:00": "2026-05-31T10:00:00",
    }
    path = write_lines(tmp_path / "laws.jsonl", *({"id": date, "text": "x", "date": date} for date in stored))
    rows = read(build_corpus(path))
    assert {row["document_id"].removeprefix("own/"): row["metadata"]["date"] for row in rows} == stored
    rule = re.search(r"regexp_full_match\(date, '(.+)'\)", dict(numbered_files("whole"))["catalogue"])
    known = re.compile(rule[1], re.ASCII)
    assert all(known.fullmatch(date) for date in stored.values())


def test_license_of_the_source_serves_documents_that_name_none(tmp_path, build_corpus, read):
    path = write_lines(tmp_path / "laws.jsonl", DUTY, {"id": "b", "text": "Another."})
    source = {"kind": "local_files", "name": "own", "paths": [str(path)], "license": "Public domain"}
    manifest = build_corpus(source)
    assert [row["license"] for row in read(manifest)] == ["CC0-1.0", "Public domain"]
    assert manifest.details["sources"]["own"]["licenses"] == {"CC0-1.0": 1, "Public domain": 1}
    (file,) = [json.loads(line) for line in manifest.file("files.jsonl").read_text().splitlines()]
    assert (file["documents"], file["license"], file["bytes"]) == (2, None, path.stat().st_size)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"id": "x", "text": ', "no valid JSON"),
        (b'{"id": "x", "text": "%b"}' % bytes(range(128, 256)), "not UTF-8, and its encoding cannot be told"),
        (b'{"id": "x", "text": "a\0b"}', "no valid JSON: Invalid control character"),
        (b'["x"]', "it is a list; an object"),
        (b"[" * 100_000, "no valid JSON"),
        ({"text": "x"}, "id is missing"),
        ({"id": "x"}, "text is missing"),
        ({"id": "x", "text": None}, "text is missing"),
        ({"id": "x", "text": 5}, "text is a number; a string was expected"),
        ({"id": True, "text": "x"}, "id is a truth value"),
        ({"id": " ", "text": "x"}, "id is empty"),
        ({"id": "x", "text": "x", "title": ["x"]}, "title is a list"),
        ({"id": "x", "text": "x", "date": "last May"}, "date is 'last May'; write it as 2026-05-31"),
        ({"id": "x", "text": "x", "date": "\u0662\u0660\u0662\u0666"}, "; write it as 2026-05-31"),
        ({"id": "x\ud800", "text": "x"}, "id holds half of a surrogate pair"),
        ({"id": "x\0", "text": "x"}, "id holds a NUL character"),
        (DUTY, "its id 'own/a' stands in an earlier document"),
    ],
)
def test_unreadable_line_is_counted_and_reported_with_its_reason(tmp_path, build_corpus, texts, line, reason):
    path = write_lines(tmp_path / "laws.jsonl", DUTY, line, {"id": "b", "text": "Kept."})
    manifest = build_corpus(path, max_unreadable_share=0.5)
    assert texts(manifest) == {"own/a": "A duty.", "own/b": "Kept."}
    assert manifest.counts["unreadable"] == 1
    (listed,) = manifest.details["unreadable"]
    assert reason in listed["problem"]
    if line is not DUTY:
        assert (listed["path"], listed["line"]) == (str(path), 2)
    with pytest.raises(SourceError, match=r"1 of 3 lines or documents \(33.33%\) cannot be read") as error:
        build_corpus(path, max_unreadable_share=0.3)
    assert reason in str(error.value)


def test_blank_text_is_skipped_and_counted_as_an_empty_file_is(tmp_path, build_corpus, texts):
    write_lines(tmp_path / "laws.jsonl", DUTY, {"id": "x", "text": " \n"}, {"id": "y", "text": "\0"})
    (tmp_path / "laws.csv").write_text("id,text\nz,  \n")
    manifest = build_corpus(tmp_path / "laws.*", max_unreadable_share=0)
    assert texts(manifest) == {"own/a": "A duty."}
    assert manifest.counts["unreadable"] == 0
    assert manifest.details["sources"]["own"]["skipped"] == {"nothing in it": 3}


def test_other_keys_of_a_record_do_not_reach_its_metadata(tmp_path, build_corpus, read):
    notes = {"language": "de", "version_of": "other", "personal_data": "none", "metadata": {"language": "de"}}
    write_lines(tmp_path / "laws.jsonl", DUTY | notes)
    [row] = read(build_corpus(tmp_path / "laws.jsonl"))
    assert row["metadata"].keys() == {"path", "origin", "date"}


def test_no_more_unreadable_lines_than_a_few_are_shown(tmp_path, build_corpus):
    path = write_lines(tmp_path / "laws.jsonl", *[b"{"] * 300, DUTY)
    with pytest.raises(SourceError, match="and 295 more"):
        build_corpus(path)
    assert len(build_corpus(path, max_unreadable_share=1).details["unreadable"]) == 100


def test_line_longer_than_the_limit_is_unreadable_and_the_next_is_read(tmp_path, build_corpus, texts, monkeypatch):
    monkeypatch.setattr("minimind.corpus.records.MAX_DOCUMENT_BYTES", 1_000)
    path = write_lines(tmp_path / "laws.jsonl", {"id": "x", "text": "x" * 5_000}, DUTY)
    manifest = build_corpus(path, max_unreadable_share=0.5)
    assert texts(manifest) == {"own/a": "A duty."}
    assert manifest.details["unreadable"][0]["line"] == 1


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("bad.txt", bytes(range(128, 256)), "not UTF-8, and its encoding cannot be told"),
        ("bad.txt", b"\0\0\0text", "it is no text: 3 of its first 7 bytes are NUL"),
        ("bad.jsonl.gz", b"no gzip", "damaged"),
        (
            "bad.jsonl.gz",
            gzip.compress(b"".join(b'{"id": "%d", "text": "y"}\n' % n for n in range(1_000)))[:-20],
            "damaged",
        ),
        ("bad.jsonl.zst", b"no zst", "damaged"),
        ("bad.zip", b"no zip", "damaged"),
        ("bad.zip", b"", "damaged"),
        ("bad.tar", b"no tar", "damaged"),
        ("bad.tar.gz", b"no tar", "damaged"),
        ("bad.tar.zst", b"no tar", "damaged"),
        ("bad.parquet", b"no parquet", "damaged"),
        ("bad.parquet", b"", "damaged"),
        ("bad.pdf", b"no PDF", "damaged"),
        ("bad.docx", b"no DOCX", "damaged"),
    ],
)
def test_damaged_file_is_counted_and_reported(tmp_path, build_corpus, name, content, reason):
    (tmp_path / "good.txt").write_text("Good.")
    (tmp_path / name).write_bytes(content)
    manifest = build_corpus(tmp_path / "*", max_unreadable_share=0.999)
    assert any(
        reason in listed["problem"] and listed["path"] == str(tmp_path / name)
        for listed in manifest.details["unreadable"]
    )
    with pytest.raises(SourceError, match=r"1 of 2 files \(50.00%\) cannot be read"):
        build_corpus(tmp_path / "*", max_unreadable_share=0.4)


def test_parquet_without_text_is_unreadable_and_its_columns_are_named(tmp_path, build_corpus):
    (tmp_path / "good.txt").write_text("Good.")
    pq.write_table(pa.table({"id": ["x"], "body": ["y"]}), tmp_path / "bad.parquet")
    with pytest.raises(SourceError, match="it has no column text; its columns are id, body"):
        build_corpus(tmp_path / "*")


def test_parquet_row_that_is_no_utf8_is_unreadable_and_the_others_are_read(tmp_path, build_corpus, texts):
    raw = pa.array([b"One.", b"\xff", b"Three."]).view(pa.string())
    pq.write_table(pa.table({"id": ["1", "2", "3"], "text": raw}), tmp_path / "laws.parquet")
    manifest = build_corpus(tmp_path / "laws.parquet", max_unreadable_share=0.5)
    assert texts(manifest) == {"own/1": "One.", "own/3": "Three."}
    (listed,) = manifest.details["unreadable"]
    assert listed["line"] == 2
    assert "not UTF-8" in listed["problem"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_file_without_permission_is_unreadable(tmp_path, build_corpus):
    (tmp_path / "good.txt").write_text("Good.")
    (tmp_path / "bad.txt").write_text("Bad.")
    (tmp_path / "bad.txt").chmod(0)
    with pytest.raises(SourceError, match="Permission denied"):
        build_corpus(tmp_path / "*")


def test_all_globs_that_find_nothing_are_reported_at_once(tmp_path, build_corpus):
    (tmp_path / "folder").mkdir()
    with pytest.raises(SourceError) as error:
        build_corpus(tmp_path / "*.txt", tmp_path / "one.md", tmp_path / "folder")
    said = str(error.value)
    assert f"no file matches {tmp_path}/*.txt" in said
    assert f"there is no file {tmp_path}/one.md" in said
    assert f"{tmp_path}/folder is a folder; write {tmp_path}/folder/**/*.txt" in said


def test_suffix_that_is_asked_for_and_unknown_is_refused(tmp_path, build_corpus):
    (tmp_path / "law.rtf").write_text("x")
    for pattern in ("*.rtf", "law.rtf"):
        with pytest.raises(SourceError, match=r"\.rtf cannot be read; these can: \.txt \.md .* \.pdf \.docx \.zip"):
            build_corpus(tmp_path / pattern)


def test_other_suffixes_among_many_files_are_skipped_and_counted(tmp_path, build_corpus, texts):
    for name in ("law.txt", "a.png", "b.png", "README"):
        (tmp_path / name).write_text("x")
    manifest = build_corpus(tmp_path / "**")
    assert texts(manifest) == {"own/law.txt": "x"}
    assert manifest.details["sources"]["own"]["skipped"] == {"no suffix": 1, "suffix .png": 2}


def test_empty_corpus_is_refused_by_the_name_of_its_source(tmp_path, build_corpus, store):
    (tmp_path / "empty.jsonl").write_text("\n\n")
    with pytest.raises(CorpusTooSmallError, match="source own gave no document"):
        build_corpus(tmp_path / "empty.jsonl")
    assert store.manifests("corpus") == []
    assert not list((store.root / "corpus").iterdir())


def test_name_with_glob_characters_is_found_as_it_is(tmp_path, build_corpus, texts):
    (tmp_path / "law [1].txt").write_text("One.")
    assert texts(build_corpus(tmp_path / "law [1].txt")) == {"own/law [1].txt": "One."}


def test_file_name_that_is_no_utf8_is_unreadable(tmp_path, build_corpus):
    (tmp_path / "good.txt").write_text("Good.")
    with open(os.fsencode(tmp_path) + b"/bad\xff.txt", "w") as handle:
        handle.write("Bad.")
    with pytest.raises(SourceError, match=r"bad\\udcff.txt: id holds half of a surrogate pair"):
        build_corpus(tmp_path / "*")
