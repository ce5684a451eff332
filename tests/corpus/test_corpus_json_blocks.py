"""What is read in blocks is what is read line by line."""

import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minimind.corpus.document import DocumentBatch
from minimind.corpus.formats import json_lines
from minimind.corpus.formats.json_blocks import read_block
from minimind.corpus.records import Place

FILE = Place(source="local", path="a.jsonl", whole="a.jsonl", unit="file", license="MIT", metadata={"path": "a.jsonl"})

ODD_LINES = [
    *("", " ", "{", "{}", "[1]", "null", "\ufeff{}", '{"id": "a"', ',"text": "b"}'),
    '{"id":"a","text":"b"} {"id":"c","text":"d"}',
    '{"id":"a","id":"b","text":"c"}',
    '{"id":"a","text":"b","x":NaN}',
    '{"id":"a","text":"b","x":-NaN}',
    '{"id":"a","text":"b","x":Inf}',
    '{"id":"a","text":"b","x":[1, -Inf]}',
    '{"id":"a","text":"b","x":%s}' % ("9" * 4301),
    '{"id":"a","text":"b","x":%s}' % ("[" * 1500 + "]" * 1500),
    '{"id":"a","text":"b","x":' + '{"y":' * 1500 + "1" + "}" * 1501,
    '{"id":"a","text":"tab\there"}',
    '{"id":"a","text":"b"}\r',
    ' {"id":"a","text":"b"}',
    '{"id":"a","text":"\\ud83d\\ude00"}',
]

DATES = ["2026", "2026-02-30", "2026-05-31", "2026-05-31T10:00:00", "20260531", "2026-W22-7", "2026-05-31_10:00"]
odd_text = st.text(
    st.one_of(st.sampled_from(' \t\n\x1c\x85\xa0\u2028\ufeff\0\ud800\U0001f600{}"\\aé'), st.characters())
)
values = st.one_of(odd_text, odd_text, odd_text, st.none(), st.integers(), st.booleans(), st.just([]), st.just("x"))
records = st.fixed_dictionaries(
    {"id": st.one_of(values, st.uuids().map(str)), "text": values},
    optional={
        "title": values,
        "source": values,
        "license": values,
        "date": st.one_of(values, st.sampled_from(DATES)),
        "more": values,
    },
)
lines = st.one_of(
    st.builds(json.dumps, records, ensure_ascii=st.booleans()),
    st.builds(json.dumps, records, ensure_ascii=st.booleans()),
    st.sampled_from(ODD_LINES),
)


def read(content: bytes, monkeypatch, block=None):
    """Every item; documents of batches one by one."""
    with monkeypatch.context() as patch:
        if block is None:
            patch.setattr(json_lines, "read_block", lambda lines, place: None)
        else:
            patch.setattr(json_lines, "BLOCK_BYTES", block)
        items = []
        for item in json_lines.read_json_lines(io.BufferedReader(io.BytesIO(content)), FILE):
            items += item.documents() if isinstance(item, DocumentBatch) else [item]
        return items


@settings(deadline=None)
@given(st.lists(lines, min_size=1, max_size=5), st.sampled_from([1, 60, 1 << 20]))
def test_blocks_give_what_lines_give(written, block):
    content = "\n".join(written).encode("utf-8", "surrogatepass")
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert read(content, monkeypatch, block) == read(content, monkeypatch)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_lines_in_another_encoding_say_so(monkeypatch, encoding):
    items = read('{"id": "a", "text": "x"}\n'.encode(encoding), monkeypatch, 1 << 20)
    assert [item.metadata["encoding"] for item in items] == [encoding]


def test_a_line_that_is_too_long_is_no_block(monkeypatch):
    monkeypatch.setattr("minimind.corpus.records.MAX_DOCUMENT_BYTES", 40)
    monkeypatch.setattr("minimind.corpus.formats.json_blocks.MAX_DOCUMENT_BYTES", 40)
    line = b'{"id": "a", "text": "%s"}' % (b"x" * 18)
    assert len(line) == 41
    [item] = read(line + b"rest\n", monkeypatch, 1 << 20)
    assert "more than 40 bytes" in item.problem


def test_plain_lines_are_read_as_a_block():
    written = [
        {
            "id": "1",
            "text": "a\nb",
            "source": "https://example.org",
            "date": "2026-05",
            "title": "",
            "more": {"x": [1]},
        },
        {"id": "2", "text": "é", "license": "CC0", "title": "t", "date": None},
    ]
    batch = read_block([json.dumps(row).encode() + b"\n" for row in written], FILE)
    one, two = batch.documents()
    assert (one.document_id, one.title, one.license) == ("local/1", None, "MIT")
    assert one.metadata == {"path": "a.jsonl", "origin": "https://example.org", "date": "2026-05"}
    assert (two.title, two.license, two.metadata) == ("t", "CC0", {"path": "a.jsonl"})


def test_lines_before_a_damage_are_read(monkeypatch):
    class Damaged(io.RawIOBase):
        rest = b'{"id": "1", "text": "a"}\n{"id": "2"'

        def readable(self):
            return True

        def readinto(self, buffer):
            if not self.rest:
                raise EOFError("cut off")
            count = min(len(buffer), len(self.rest))
            buffer[:count], self.rest = self.rest[:count], self.rest[count:]
            return count

    items = []
    reading = json_lines.read_json_lines(io.BufferedReader(Damaged()), FILE)
    items += next(reading).documents()
    with pytest.raises(EOFError):
        next(reading)
    assert [item.document_id for item in items] == ["local/1"]
