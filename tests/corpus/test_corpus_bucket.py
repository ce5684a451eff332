"""The bucket source against an S3 server on this machine (moto's), and against fsspec's own protocols."""

import gzip
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import botocore.config
import fsspec
import pytest
from moto.server import ThreadedMotoServer
from packed import pack
from pydantic import ValidationError

from minimind.config import BucketSource
from minimind.errors import SourceError

SECRET = "geheimer-schluessel"


class S3:
    """A bucket `team` on a server that counts what is asked of it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client = boto3.client(
            "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="reader", aws_secret_access_key=SECRET,
            config=botocore.config.Config(retries={"total_max_attempts": 1}),
        )  # fmt: skip
        self.got: list[str] = []  # keys of the objects that were sent, whole or in part

    def put(self, key: str, content: bytes | str, bucket: str = "team") -> None:
        self.client.put_object(Bucket=bucket, Key=key, Body=content if isinstance(content, bytes) else content.encode())


@pytest.fixture(scope="module")
def moto() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """(URL, (method, path) of every request)."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    asked: list[tuple[str, str]] = []
    application = server._server.app

    def counted(environ: dict[str, Any], start: Callable[..., Any]) -> Any:
        asked.append((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        return application(environ, start)

    server._server.app = counted
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}", asked
    server.stop()


@pytest.fixture
def s3(moto: tuple[str, list[tuple[str, str]]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[S3]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "reader")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", SECRET)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    url, asked = moto
    bucket = S3(url)
    bucket.client.create_bucket(Bucket="team")
    asked.clear()
    yield bucket
    for entry in bucket.client.list_objects_v2(Bucket="team").get("Contents", []):
        bucket.client.delete_object(Bucket="team", Key=entry["Key"])


@pytest.fixture
def fetched(moto: tuple[str, list[tuple[str, str]]]) -> Callable[[], list[str]]:
    """The keys of the objects that were sent since the last call, each once."""

    def keys() -> list[str]:
        asked = moto[1]
        found = sorted({path for method, path in asked if method == "GET" and path.count("/") > 1})
        asked.clear()
        return [path.removeprefix("/team/") for path in found]

    return keys


def bucket_source(s3: S3, *paths: str, **settings: Any) -> dict[str, Any]:
    globs = list(paths or ["s3://team/laws/**"])
    return {"kind": "bucket", "name": "store", "paths": globs, "endpoint_url": s3.url} | settings


def test_objects_become_documents_like_local_files(s3, tmp_path, build_corpus, read):
    s3.put("laws/a/one.md", "# One\n")
    s3.put("laws/lines.jsonl.gz", gzip.compress(json.dumps({"id": "j", "text": "Line."}).encode()))
    s3.put("laws/packed.zip", pack(tmp_path / "p.zip", [("x/b.txt", "B."), ("y/c.txt", "C.")]).read_bytes())
    s3.put("other/not.md", "Not.")
    manifest = build_corpus(bucket_source(s3, license="CC0-1.0"))
    assert [(row["document_id"], row["text"], row["license"]) for row in read(manifest)] == [
        ("store/a/one.md", "# One\n", "CC0-1.0"),
        ("store/j", "Line.", "CC0-1.0"),
        ("store/packed.zip/x/b.txt", "B.", "CC0-1.0"),
        ("store/packed.zip/y/c.txt", "C.", "CC0-1.0"),
    ]
    assert read(manifest)[0]["metadata"] == {"origin": "s3://team/laws/a/one.md", "path": "a/one.md"}
    lines = [json.loads(line) for line in manifest.file("files.jsonl").read_text().splitlines()]
    etag = s3.client.head_object(Bucket="team", Key="laws/a/one.md")["ETag"]
    assert (lines[0]["path"], lines[0]["etag"], lines[0]["bytes"]) == ("s3://team/laws/a/one.md", etag, 6)


def test_second_run_fetches_only_the_objects_that_changed(s3, build_corpus, texts, fetched):
    for name in "abc":
        s3.put(f"laws/{name}.txt", name * 1000)
    build_corpus(bucket_source(s3))
    assert fetched() == ["laws/a.txt", "laws/b.txt", "laws/c.txt"]
    assert build_corpus(bucket_source(s3)).reused
    assert fetched() == []
    s3.put("laws/b.txt", "New.")
    s3.client.delete_object(Bucket="team", Key="laws/c.txt")
    assert texts(build_corpus(bucket_source(s3))) == {"store/a.txt": "a" * 1000, "store/b.txt": "New."}
    assert fetched() == ["laws/b.txt"]


def test_globs_mean_what_they_mean_for_local_files(s3, build_corpus, texts):
    for key in ("laws/a.txt", "laws/x/b.txt", "laws/x/y/c.txt", "laws/.hidden.txt", "laws/x[1].txt"):
        s3.put(key, key)
    assert list(texts(build_corpus(bucket_source(s3, "s3://team/laws/*.txt")))) == ["store/a.txt", "store/x[1].txt"]
    assert list(texts(build_corpus(bucket_source(s3, "s3://team/**/b.txt", "s3://team/laws/x/*.txt")))) == [
        "store/laws/x/b.txt"
    ]
    assert list(texts(build_corpus(bucket_source(s3, "s3://team/laws/x/y/c.txt")))) == ["store/c.txt"]


def test_keys_that_are_no_text_are_counted_and_ones_that_lead_elsewhere_stay_here(s3, store, build_corpus, texts):
    s3.put("laws/picture.png", b"\x89PNG")
    s3.put("laws/x/", b"")
    s3.put("laws/x..%2f..%2fevil.txt", "Evil.")
    manifest = build_corpus(bucket_source(s3))
    assert texts(manifest) == {"store/x..%2f..%2fevil.txt": "Evil."}
    assert manifest.details["sources"]["store"]["skipped"] == {"suffix .png": 1}
    assert {path.parent for path in store.root.rglob("*evil*")} == {store.root / "downloads"}


def test_interrupted_object_is_continued(s3, store, build_corpus, texts, monkeypatch, moto):
    content = b"".join(b"%07d\n" % number for number in range(200_000))
    s3.put("laws/big.txt", content)
    monkeypatch.setattr("minimind.corpus.sources.bucket.BLOCK_BYTES", 600_000)
    calls = []

    def stop_later(self, size):
        calls.append(size)
        if len(calls) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as once:
        once.setattr("minimind.corpus.parallel.Transfers.add", stop_later)
        with pytest.raises(KeyboardInterrupt):
            build_corpus(bucket_source(s3))
    (part,) = (store.root / "downloads").glob("*.part")
    assert part.stat().st_size == 1_200_000
    moto[1].clear()
    assert texts(build_corpus(bucket_source(s3))) == {"store/big.txt": content.decode()}
    assert len([path for method, path in moto[1] if (method, path) == ("GET", "/team/laws/big.txt")]) == 1


# --- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["s3://", "s3://b", "s3://*/x", "s3://key:secret@b/x", "http://host/x", "ftp://host/x", "zip::s3://b/x", "laws/*"],
)
def test_what_is_no_bucket_is_refused(path):
    with pytest.raises(ValidationError):
        BucketSource.model_validate({"kind": "bucket", "name": "store", "paths": [path]})


def test_two_protocols_in_one_source_are_refused():
    with pytest.raises(ValidationError, match="several protocols; make a source of each"):
        BucketSource.model_validate({"kind": "bucket", "name": "store", "paths": ["s3://a/b", "file:///c"]})


def test_glob_without_a_match_is_said(s3, build_corpus):
    with pytest.raises(SourceError, match=r"source store: no object matches s3://team/laws/\*\*; correct the glob"):
        build_corpus(bucket_source(s3))
    s3.put("laws/a.txt", "Law.")
    with pytest.raises(
        SourceError, match=r"no object matches s3://team/laws; .* or write s3://team/laws/\*\* for what"
    ):
        build_corpus(bucket_source(s3, "s3://team/laws"))


def test_bucket_that_is_not_there_is_said(s3, build_corpus):
    with pytest.raises(SourceError, match=r"source store: .*s3://gone/\*\*.*"):
        build_corpus(bucket_source(s3, "s3://gone/**"))


def test_server_that_is_not_there_is_said(s3, build_corpus, monkeypatch):
    monkeypatch.setattr("s3fs.S3FileSystem.retries", 1)
    with pytest.raises(SourceError, match=r"at http://127.0.0.1:9 cannot be read: .*connect"):
        build_corpus(bucket_source(s3, endpoint_url="http://127.0.0.1:9"))


def test_missing_credentials_are_said(s3, build_corpus, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    s3.put("laws/a.txt", "Law.")
    with pytest.raises(SourceError, match=r"Unable to locate credentials\. Check .* \(or set anonymous: true\)"):
        build_corpus(bucket_source(s3))


def test_public_bucket_is_read_without_credentials(s3, build_corpus):
    s3.client.create_bucket(Bucket="public", ACL="public-read")
    s3.client.put_object(Bucket="public", Key="laws/a.txt", Body=b"Law.", ACL="public-read")
    source = bucket_source(s3, "s3://public/laws/**", anonymous=True)
    assert build_corpus(source).counts["documents"] == 1


def test_object_over_the_size_limit_is_refused(s3, store, build_corpus, fetched):
    s3.put("laws/big.txt", b"x" * 300_000)
    with pytest.raises(SourceError, match=r"s3://team/laws/big.txt has 300,000 bytes, and corpus.max_download_bytes"):
        build_corpus(bucket_source(s3), max_download_bytes=100_000)
    assert fetched() == []


def test_object_replaced_after_it_was_listed_is_refused(s3, store, build_corpus, texts, monkeypatch):
    s3.put("laws/a.txt", "Old.")
    wait = "minimind.corpus.sources.bucket.Pace.wait"
    with monkeypatch.context() as once:
        once.setattr(wait, lambda *_: s3.put("laws/a.txt", "New."))
        with pytest.raises(SourceError, match=r"s3://team/laws/a.txt has changed since it was listed .*; run again"):
            build_corpus(bucket_source(s3))
    assert store.manifests("corpus") == []
    assert texts(build_corpus(bucket_source(s3))) == {"store/a.txt": "New."}


def test_credentials_reach_neither_logs_nor_the_store(s3, store, build_corpus, caplog):
    caplog.set_level(logging.DEBUG)
    s3.put("laws/a.txt", "Law.")
    build_corpus(bucket_source(s3))
    said = caplog.text + "".join(path.read_text("latin-1") for path in store.root.rglob("*") if path.is_file())
    assert SECRET not in said


# --- other protocols --------------------------------------------------------------------------------------------------


def test_files_by_another_protocol_are_read_and_fetched_again_when_they_change(tmp_path, build_corpus, texts):
    folder = tmp_path / "laws"
    (folder / "x").mkdir(parents=True)
    (folder / "x" / "a.txt").write_text("A.")
    source = {"kind": "bucket", "name": "store", "paths": [f"file://{folder}/**"]}
    assert texts(build_corpus(source)) == {"store/x/a.txt": "A."}
    assert build_corpus(source).reused
    (folder / "x" / "a.txt").write_text("A, amended.")
    assert texts(build_corpus(source)) == {"store/x/a.txt": "A, amended."}


def test_objects_in_memory_are_read(build_corpus, texts):
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/laws/a.txt", b"A.")
    try:
        assert texts(build_corpus({"kind": "bucket", "name": "store", "paths": ["memory://laws/*.txt"]})) == {
            "store/a.txt": "A."
        }
    finally:
        memory.rm("/laws", recursive=True)
