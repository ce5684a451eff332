"""Archives: members become documents under stable ids, and whatever leads out, links out or swells is refused."""

import contextlib
import glob
import gzip
import io
import json
import random
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from office_files import docx_bytes, pdf_bytes
from packed import pack

from minimind.corpus.files import FileOnDisk, read_file
from minimind.corpus.globs import MemberGlobs
from minimind.corpus.records import Place
from minimind.corpus.sources.protocol import FileRead, Meter
from minimind.errors import SourceError

KINDS = ["zip", "tar", "tar.gz", "tgz", "tar.zst"]


def parquet_bytes(**columns: list[str]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_is_read_from_an_archive(tmp_path, build_corpus, texts, read, kind):
    line = json.dumps({"id": "j", "text": "JSON."}).encode()
    packed = json.dumps({"id": "z", "text": "Packed."}).encode()
    members = [
        ("snap-1/b/law.md", "Law."),
        ("snap-1/plain.txt", "Plain."),
        ("snap-1/lines.jsonl", line),
        ("snap-1/lines.jsonl.gz", gzip.compress(packed)),
        ("snap-1/text.txt.zst", zstandard.compress(b"Zstandard.")),
        ("snap-1/rows.csv", "id,text\nc,Row.\n"),
        ("snap-1/page.html", "<title>Page</title><p>Page."),
        ("snap-1/letter.docx", docx_bytes("Letter.")),
        ("snap-1/paper.pdf", pdf_bytes("Paper.")),
        ("snap-1/table.parquet", parquet_bytes(id=["p"], text=["Table."])),
        ("snap-1/logo.png", b"\x89PNG"),
    ]
    manifest = build_corpus(pack(tmp_path / f"laws.{kind}", members))
    assert texts(manifest) == {
        f"own/laws.{kind}/b/law.md": "Law.",
        f"own/laws.{kind}/plain.txt": "Plain.",
        "own/j": "JSON.",
        "own/z": "Packed.",
        "own/p": "Table.",
        f"own/laws.{kind}/text.txt.zst": "Zstandard.",
        "own/c": "Row.",
        f"own/laws.{kind}/page.html": "Page.",
        f"own/laws.{kind}/letter.docx": "Letter.",
        f"own/laws.{kind}/paper.pdf": "Paper.",
    }
    paths = {row["document_id"]: row["metadata"]["path"] for row in read(manifest)}
    assert paths["own/j"] == f"laws.{kind}/lines.jsonl"
    assert manifest.details["sources"]["own"]["skipped"] == {"suffix .png": 1}
    assert manifest.counts["files"] == 1


@pytest.mark.parametrize("kind", KINDS)
def test_top_folder_stays_where_it_is_not_the_only_one(tmp_path, build_corpus, texts, kind):
    path = pack(tmp_path / f"laws.{kind}", [("a/x.md", "X"), ("b/x.md", "Y")])
    assert set(texts(build_corpus(path))) == {f"own/laws.{kind}/a/x.md", f"own/laws.{kind}/b/x.md"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["../out.txt", "a/../../out.txt", "/etc/out.txt", "..\\out.txt", "C:\\out.txt"])
def test_path_that_leads_out_of_the_archive_is_refused(tmp_path, build_corpus, store, kind, name):
    path = pack(tmp_path / f"laws.{kind}", [("good.txt", "Good."), (name, "Bad.")])
    with pytest.raises(SourceError, match="leads out of the archive"):
        build_corpus(path, max_unreadable_share=1)
    assert store.manifests("corpus") == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("target", ["../../secret.txt", "/etc/passwd", "../a/../../b"])
def test_link_that_leads_out_of_the_archive_is_refused(tmp_path, build_corpus, kind, target):
    path = pack(tmp_path / f"laws.{kind}", [("a/good.txt", "Good.")], {"a/link.txt": target})
    with pytest.raises(SourceError, match=r"'a/link.txt', a link that leads out of the archive"):
        build_corpus(path, max_unreadable_share=1)


@pytest.mark.parametrize("kind", KINDS)
def test_link_inside_the_archive_is_skipped_and_counted(tmp_path, build_corpus, texts, kind):
    path = pack(tmp_path / f"laws.{kind}", [("a/b/good.txt", "Good."), ("c.txt", "C")], {"a/link.txt": "../c.txt"})
    manifest = build_corpus(path)
    assert len(texts(manifest)) == 2
    assert manifest.details["sources"]["own"]["skipped"] == {"link inside an archive": 1}


@pytest.mark.parametrize("type_", [tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_special_file_in_a_tar_is_refused(tmp_path, build_corpus, type_):
    with tarfile.open(tmp_path / "laws.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo("device.txt")
        info.type = type_
        archive.addfile(info)
    with pytest.raises(SourceError, match="a device or pipe"):
        build_corpus(tmp_path / "laws.tar.gz", max_unreadable_share=1)


def test_hard_link_out_of_a_tar_is_refused(tmp_path, build_corpus):
    with tarfile.open(tmp_path / "laws.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo("a/hard.txt")
        info.type, info.linkname = tarfile.LNKTYPE, "../secret.txt"
        archive.addfile(info)
    with pytest.raises(SourceError, match="a link that leads out"):
        build_corpus(tmp_path / "laws.tar.gz", max_unreadable_share=1)


@pytest.mark.parametrize("kind", KINDS)
def test_archive_that_expands_too_far_is_not_read_and_the_setting_named(tmp_path, build_corpus, texts, kind):
    (tmp_path / "other.txt").write_text("Other.")
    pack(tmp_path / f"laws.{kind}", [("good.txt", "Good."), ("picture.png", b"\0" * 2_000_000)])
    problem = "expands to more than 1,000,000 bytes, which corpus.max_expanded_bytes permits"
    with pytest.raises(SourceError, match=problem):
        build_corpus(tmp_path / "*", max_expanded_bytes=1_000_000)
    manifest = build_corpus(tmp_path / "*", max_expanded_bytes=1_000_000, max_unreadable_share=0.5)
    assert texts(manifest) == {"own/other.txt": "Other."}
    assert problem in manifest.details["unreadable"][0]["problem"]
    assert build_corpus(tmp_path / "*", max_expanded_bytes=3_000_000).counts["documents"] == 2


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
def test_members_expand_no_further_together_than_one_file_may(tmp_path, build_corpus, texts, compress):
    """Each bomb alone stays below the limit."""
    suffix = "gz" if compress is gzip.compress else "zst"
    bombs = [(f"{number}.jsonl.{suffix}", compress(b"\n" * 400_000)) for number in range(3)]
    path = pack(tmp_path / "laws.zip", [("a.txt", "Good."), *bombs, ("z.txt", "Not reached.")])
    manifest = build_corpus(path, max_expanded_bytes=1_000_000, max_unreadable_share=1)
    assert list(texts(manifest).values()) == ["Good."]
    (listed,) = manifest.details["unreadable"]
    assert listed["path"] == str(path)
    assert listed["problem"].endswith("raise it if you trust this file (the 1 documents before that stay)")


def test_archive_inside_an_archive_is_left_packed(tmp_path, build_corpus):
    inner = pack(tmp_path / "inner.zip", [("bomb.txt", b"\0" * 50_000_000)])
    outer = pack(tmp_path / "laws.zip", [("good.txt", "Good."), ("inner.zip", inner.read_bytes())])
    manifest = build_corpus(outer, max_expanded_bytes=1_000_000)
    assert manifest.counts["documents"] == 1
    assert manifest.details["sources"]["own"]["skipped"] == {"suffix .zip": 1}


def test_zip_that_understates_a_size_gives_no_more_than_it_declares(tmp_path, build_corpus):
    path = pack(tmp_path / "laws.zip", [("good.txt", "Good."), ("bad.txt", b"x" * 100_000)])
    content = bytearray(path.read_bytes())
    true_size, false_size = (100_000).to_bytes(4, "little"), (10).to_bytes(4, "little")
    assert content.count(true_size) == 2  # in the local header and in the directory
    path.write_bytes(content.replace(true_size, false_size))
    manifest = build_corpus(path, max_unreadable_share=0.5)
    assert manifest.counts["documents"] == 1
    assert "CRC" in manifest.details["unreadable"][0]["problem"]


@pytest.mark.parametrize("kind", KINDS)
def test_unreadable_member_is_reported_by_its_path(tmp_path, build_corpus, kind):
    path = pack(
        tmp_path / f"laws.{kind}", [("a.txt", "Good."), ("b.txt", bytes(range(128, 256))), ("c.jsonl", b'{"id": 1}\n')]
    )
    manifest = build_corpus(path, max_unreadable_share=0.5)
    assert [(listed["path"], listed["line"]) for listed in manifest.details["unreadable"]] == [
        (f"{path}: b.txt", None),
        (f"{path}: c.jsonl", 1),
    ]


def test_encrypted_member_is_unreadable(tmp_path, build_corpus):
    path = pack(tmp_path / "laws.zip", [("a.txt", "Good."), ("b.txt", "Hidden.")])
    content = bytearray(path.read_bytes())
    local, central = content.rindex(b"PK\x03\x04"), content.rindex(b"PK\x01\x02")
    content[local + 6] |= 1
    content[central + 8] |= 1
    path.write_bytes(content)
    manifest = build_corpus(path, max_unreadable_share=0.5)
    assert manifest.details["unreadable"][0]["problem"] == "it is encrypted; decrypt it"


@pytest.mark.parametrize("kind", KINDS)
def test_damage_inside_one_archive_leaves_the_other_files(tmp_path, build_corpus, kind):
    (tmp_path / "good.txt").write_text("Good.")
    path = pack(tmp_path / f"laws.{kind}", [(f"{i}.txt", str(i) * 1_000) for i in range(50)])
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(SourceError, match=r"1 of 2 files \(50.00%\)"):
        build_corpus(tmp_path / "*", max_unreadable_share=0.1)


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("**", ["a.md", "b/c/a.md"], [".hidden.md", ".git/a.md", "b/.a.md"]),
        ("**/*.md", ["a.md", "b/a.md", "b/c/a.md"], ["a.txt", ".git/a.md"]),
        ("*/*/index.md", ["a/b/index.md"], ["a/index.md", "a/b/c/index.md", "a/b/other.md"]),
        ("docs/**/[!_]?.txt", ["docs/ab.txt", "docs/x/y/ab.txt"], ["docs/_b.txt", "ab.txt"]),
        (".github/*.md", [".github/a.md"], ["github/a.md"]),
        ("a+(b).txt", ["a+(b).txt"], ["aab.txt"]),
    ],
)
def test_member_globs_mean_what_globs_on_disk_mean(pattern, matching, others, tmp_path):
    globs = MemberGlobs([pattern])
    assert [path for path in matching + others if globs.match(path)] == matching
    for path in matching + others:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    on_disk = {
        path.relative_to(tmp_path).as_posix()
        for path in map(Path, glob.glob(f"{tmp_path}/{pattern}", recursive=True))
        if path.is_file()
    }
    assert on_disk == set(matching)


def test_random_damage_is_reported_and_never_a_traceback(tmp_path):
    lines = b"".join(json.dumps({"id": f"i{number}", "text": "Text."}).encode() + b"\n" for number in range(20))
    members = [
        ("s/a.md", "Law."),
        ("s/l.jsonl.gz", gzip.compress(lines)),
        ("s/t.parquet", parquet_bytes(id=["p"], text=["x"])),
    ]
    whole = {kind: pack(tmp_path / f"whole.{kind}", members, {"s/b.md": "a.md"}).read_bytes() for kind in KINDS}
    whole |= {"jsonl.zst": zstandard.compress(lines), "docx": docx_bytes("Text."), "pdf": pdf_bytes("Text.")}
    whole |= {"jsonl.gz": gzip.compress(lines), "parquet": parquet_bytes(id=["p", "q"], text=["x" * 50, "y"])}
    chance = random.Random(1)
    for turn in range(400):
        kind = sorted(whole)[turn % len(whole)]
        inside = kind in ("tar.gz", "tgz") and chance.random() < 0.5  # the damage, of the compression
        content = bytearray(gzip.decompress(whole[kind]) if inside else whole[kind])
        for _ in range(chance.choice([1, 2, 5])):
            content[chance.randrange(len(content))] = chance.randrange(256)
        path = tmp_path / f"bad.{kind}"
        path.write_bytes(gzip.compress(content, 1) if inside else content)
        place = Place("own", "bad", "whole", "file", metadata={"path": "bad"})
        with contextlib.suppress(SourceError):
            *_, last = read_file(FileOnDisk(path, place, "bad/", MemberGlobs(["**"]), 10**7, Meter()))
            assert isinstance(last, FileRead)
