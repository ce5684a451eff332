"""Text that is not UTF-8: read in the encoding that it has, noted with the document, counted in the manifest."""

import json

import pytest

TEXTS = {
    "windows-1252": "Die Prüfung ist “bestanden”, § 5 Absatz 2 gilt für größere Häuser.\nAlles Übrige entfällt.",
    "windows-1250": "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw. Są oni obdarzeni.",
    "windows-1251": "Все люди рождаются свободными и равными в своем достоинстве и правах. Они наделены разумом.",
    "koi8-r": "Все люди рождаются свободными и равными в своем достоинстве и правах. Они наделены разумом.",
    "windows-1253": "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα.",
    "windows-1254": "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar. Akıl ve vicdana sahiptirler ve "
    "birbirlerine karşı kardeşlik zihniyeti ile hareket etmelidirler.",
    "shift_jis": "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。",
    "gb18030": "人人生而自由,在尊严和权利上一律平等。他们赋有理性和良心,并应以兄弟关系的精神相对待。",
    "euc-kr": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
}
LAW = "Die Prüfung ist “bestanden”, § 5 gilt."


@pytest.mark.parametrize("encoding", TEXTS)
def test_text_is_read_in_the_encoding_that_it_looks_like(tmp_path, build_corpus, read, encoding):
    text = TEXTS[encoding]
    (tmp_path / "a.txt").write_bytes(text.encode(encoding))
    (tmp_path / "b.txt").write_text(text)
    manifest = build_corpus(tmp_path / "*.txt")
    first, second = read(manifest)
    assert first["text"] == second["text"] == text
    assert first["metadata"]["encoding"] == encoding
    assert "encoding" not in second["metadata"]
    assert manifest.details["sources"]["own"]["repaired"] == {f"decoded as {encoding}": 1}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv", "a.html"])
def test_wide_encodings_are_read_with_a_mark_or_without(tmp_path, build_corpus, read, name, encoding):
    record = {"id": "a", "text": LAW}
    content = {
        "a.txt": LAW,
        "a.jsonl": json.dumps(record, ensure_ascii=False) + "\r\n\n",
        "a.csv": f'id,text\r\na,"{LAW}"\r\n',
        "a.html": f"<p>{LAW}</p>",
    }[name]
    (tmp_path / name).write_bytes(content.encode(encoding))
    (row,) = read(build_corpus(tmp_path / name))
    assert row["text"] == LAW
    assert row["metadata"]["encoding"] == encoding


def test_rare_signs_in_an_english_text_are_western(tmp_path, build_corpus, read):
    text = "The tenant shall pay “the rent” under § 5, and no more than that — in every month of the year. " * 3
    (tmp_path / "a.txt").write_bytes(text.encode("cp1252"))
    (row,) = read(build_corpus(tmp_path / "a.txt"))
    assert row["text"] == text


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.html"])
def test_lines_of_two_encodings_in_one_text_are_each_read_in_theirs(tmp_path, build_corpus, read, name):
    content = b"\n".join([LAW.encode(), b"Plain.", LAW.encode("cp1252")])
    (tmp_path / name).write_bytes(b"<pre>" + content + b"</pre>" if name == "a.html" else content)
    (row,) = read(build_corpus(tmp_path / name))
    assert row["text"] == f"{LAW}\nPlain.\n{LAW}"
    assert row["metadata"]["encoding"] == "windows-1252"


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_records_of_two_encodings_in_one_file_are_each_read_in_theirs(tmp_path, build_corpus, read, name):
    def line(number, encoding):
        record = json.dumps({"id": number, "text": LAW}, ensure_ascii=False) if "json" in name else f'{number},"{LAW}"'
        return record.encode(encoding)

    lines = [line(1, "utf-8"), line(2, "cp1252"), line(3, "utf-8"), line(4, "cp1252")]
    (tmp_path / name).write_bytes(b"\n".join([b"id,text"] * ("csv" in name) + lines))
    manifest = build_corpus(tmp_path / name)
    rows = read(manifest)
    assert [row["text"] for row in rows] == [LAW] * 4
    assert [row["metadata"].get("encoding") for row in rows] == [None, "windows-1252", None, "windows-1252"]
    assert manifest.details["sources"]["own"]["repaired"] == {"decoded as windows-1252": 2}


def test_encoding_is_asked_for_once_in_a_file_of_many_lines(tmp_path, build_corpus, monkeypatch):
    from minimind.corpus.formats import encodings

    asked = []
    detect = encodings.detect
    monkeypatch.setattr(encodings, "detect", lambda content: asked.append(content) or detect(content))
    records = [json.dumps({"id": number, "text": LAW}, ensure_ascii=False).encode("cp1252") for number in range(50)]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(records))
    assert build_corpus(tmp_path / "a.jsonl").counts["documents"] == 50
    assert asked == [records[0] + b"\n"]


def test_signs_of_two_bytes_are_not_taken_for_utf8(tmp_path, build_corpus, read):
    """Each of these lines is also valid UTF-8, as some short Chinese words are."""
    text = "联通\n" + TEXTS["gb18030"]
    (tmp_path / "a.txt").write_bytes(text.encode("gb18030"))
    (row,) = read(build_corpus(tmp_path / "a.txt"))
    assert row["text"] == text
