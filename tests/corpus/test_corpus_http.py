"""The http source against a server on this machine: what is fetched, resumed, retried, refused, and never said."""

import gzip
import hashlib
import json
import logging
from pathlib import Path

import httpx
import pytest
from packed import pack

from minimind.errors import SourceError
from minimind.masking import masked

LAW = [
    ("laws-main/a/index.md", "# A law\n"),
    ("laws-main/b/index.md", "# B law\n"),
    ("laws-main/README.md", "Read me."),
]


def http_source(*urls: str, sha256: str | None = None, **settings: object) -> dict[str, object]:
    return {"kind": "http", "name": "web", "files": [{"url": url, "sha256": sha256} for url in urls], **settings}


@pytest.fixture
def archive(tmp_path: Path) -> bytes:
    return pack(tmp_path / "laws.zip", LAW).read_bytes()


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_repository_archive_gives_ids_without_its_top_folder(tmp_path, server, build_corpus, read, kind):
    server.serve(f"/laws/main.{kind}", pack(tmp_path / f"laws.{kind}", LAW).read_bytes())
    url = f"{server.url}/laws/main.{kind}"
    manifest = build_corpus(http_source(url, members=["*/index.md"], license="CC0-1.0"))
    rows = read(manifest)
    assert [(row["document_id"], row["text"], row["license"]) for row in rows] == [
        ("web/a/index.md", "# A law\n", "CC0-1.0"),
        ("web/b/index.md", "# B law\n", "CC0-1.0"),
    ]
    assert rows[0]["metadata"] == {"origin": url, "path": "a/index.md"}


def test_plain_files_are_read_like_local_ones(server, build_corpus, texts):
    server.serve("/lines.jsonl", json.dumps({"id": "j", "text": "Line."}).encode())
    server.serve("/dir/plain.txt", b"Plain.")
    manifest = build_corpus(http_source(f"{server.url}/lines.jsonl", f"{server.url}/dir/plain.txt?download=1"))
    assert texts(manifest) == {"web/j": "Line.", "web/plain.txt": "Plain."}


def test_unchanged_file_is_asked_for_and_not_fetched_again(server, build_corpus, archive):
    server.serve("/laws.zip", archive)
    first = build_corpus(http_source(f"{server.url}/laws.zip"))
    again = build_corpus(http_source(f"{server.url}/laws.zip"))
    refreshed = build_corpus(http_source(f"{server.url}/laws.zip"), refresh=True)
    assert (first.reused, again.reused, refreshed.reused) == (False, True, True)
    assert (server.asked("HEAD"), server.asked("GET")) == (3, 1)


def test_new_version_on_the_server_is_fetched_and_built(tmp_path, server, build_corpus, texts, archive):
    server.serve("/laws.zip", archive)
    build_corpus(http_source(f"{server.url}/laws.zip"))
    newer = pack(tmp_path / "newer.zip", [("laws-next/a/index.md", "# A law, amended\n")]).read_bytes()
    server.serve("/laws.zip", newer, etag='"2"')
    manifest = build_corpus(http_source(f"{server.url}/laws.zip"))
    assert not manifest.reused
    assert texts(manifest) == {"web/a/index.md": "# A law, amended\n"}


def test_kept_download_serves_another_build_of_the_same_version(server, build_corpus, archive):
    server.serve("/laws.zip", archive)
    build_corpus(http_source(f"{server.url}/laws.zip"))
    build_corpus(http_source(f"{server.url}/laws.zip", members=["a/*"]))
    assert server.asked("GET") == 1


def test_download_damaged_on_disk_is_fetched_again(server, store, build_corpus, texts, archive):
    server.serve("/laws.zip", archive)
    build_corpus(http_source(f"{server.url}/laws.zip"))
    (kept,) = (store.root / "downloads").glob("*.zip")
    kept.write_bytes(b"x" * kept.stat().st_size)
    assert len(texts(build_corpus(http_source(f"{server.url}/laws.zip", license="CC0-1.0")))) == 3


def test_pinned_checksum_needs_no_server_once_the_file_is_here(server, build_corpus, archive):
    server.serve("/laws.zip", archive)
    digest = hashlib.sha256(archive).hexdigest()
    build_corpus(http_source(f"{server.url}/laws.zip", sha256=digest))
    assert [method for method, _, _ in server.requests] == ["GET"]
    server.fail("/laws.zip", 500)
    assert build_corpus(http_source(f"{server.url}/laws.zip", sha256=digest)).reused
    assert not build_corpus(http_source(f"{server.url}/laws.zip", sha256=digest, members=["a/*"])).reused


def test_server_without_validators_is_compared_by_content(server, build_corpus, archive, tmp_path):
    server.serve("/laws.zip", archive, etag=None)
    first = build_corpus(http_source(f"{server.url}/laws.zip"))
    assert build_corpus(http_source(f"{server.url}/laws.zip")).reused
    newer = pack(tmp_path / "newer.zip", [("x/a.md", "New.")]).read_bytes()
    server.serve("/laws.zip", newer, etag=None)
    assert build_corpus(http_source(f"{server.url}/laws.zip")).fingerprint != first.fingerprint


def test_server_that_refuses_head_is_asked_by_get(server, build_corpus, archive):
    server.serve("/laws.zip", archive)
    (answer,) = server.answers["/laws.zip"]

    def only_get(handler):
        handler.send_error(405) if handler.command == "HEAD" else answer(handler)

    server.answers["/laws.zip"] = [only_get]
    assert build_corpus(http_source(f"{server.url}/laws.zip")).counts["documents"] == 3
    assert build_corpus(http_source(f"{server.url}/laws.zip")).reused


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip"])
def test_gzip_file_that_the_server_calls_encoded_stays_as_it_is(tmp_path, server, build_corpus, encoding):
    content = pack(tmp_path / "laws.tar.gz", LAW).read_bytes()
    server.serve("/laws.tar.gz", content, Content_Encoding=encoding)
    manifest = build_corpus(http_source(f"{server.url}/laws.tar.gz", sha256=hashlib.sha256(content).hexdigest()))
    assert manifest.counts["documents"] == 3


def test_text_that_the_server_encodes_is_decoded(server, build_corpus, texts):
    server.serve("/law.txt", gzip.compress(b"Law."), Content_Encoding="gzip")
    assert texts(build_corpus(http_source(f"{server.url}/law.txt"))) == {"web/law.txt": "Law."}


# --- failures ---------------------------------------------------------------------------------------------------------


def test_missing_file_is_said_at_once(server, store, build_corpus):
    with pytest.raises(SourceError, match=r"/laws.zip: the server answered 404 Not Found; .* check the URL"):
        build_corpus(http_source(f"{server.url}/laws.zip"))
    assert len(server.requests) == 2  # HEAD, and GET for servers that do not know HEAD
    assert store.manifests("corpus") == []


def test_server_error_is_retried_and_then_the_file_is_read(server, build_corpus, archive):
    server.serve("/laws.zip", archive)
    server.fail("/laws.zip", 500, times=2)
    assert build_corpus(http_source(f"{server.url}/laws.zip")).counts["documents"] == 3


@pytest.mark.parametrize("sha256", [None, "0" * 64])
def test_server_error_that_stays_is_said_after_a_handful_of_tries(server, build_corpus, sha256):
    server.fail("/laws.zip", 503)
    with pytest.raises(SourceError, match=r"the server answered 503 Service Unavailable \(4 tries\)"):
        build_corpus(http_source(f"{server.url}/laws.zip", sha256=sha256))


def test_server_that_is_not_there_is_said(server, build_corpus):
    with pytest.raises(SourceError, match=r"Connection refused \(4 tries\); check the network"):
        build_corpus(http_source("http://127.0.0.1:9/laws.zip"))


@pytest.mark.parametrize("url", ["https://", "http://[bad/laws.zip", "http://user:geheim@:99999/laws.zip"])
def test_what_is_no_url_is_said_without_repeating_it(build_corpus, url):
    with pytest.raises(SourceError, match=r"source web: files\.0\.url is no valid URL"):
        build_corpus(http_source(url))


def test_wrong_checksum_is_refused_and_nothing_is_kept(server, store, build_corpus, archive):
    server.serve("/laws.zip", archive)
    found = hashlib.sha256(archive).hexdigest()
    with pytest.raises(SourceError, match=rf"has the sha256 {found}, and {'1' * 64} was expected"):
        build_corpus(http_source(f"{server.url}/laws.zip", sha256="1" * 64))
    assert list((store.root / "downloads").iterdir()) == []


@pytest.mark.parametrize("announced", [True, False])
def test_file_over_the_size_limit_is_refused_and_not_kept(server, store, build_corpus, announced):
    content = b"x" * 300_000
    server.serve("/laws.txt", content)
    if not announced:

        def answer(handler):
            handler.send_response(200)
            handler.send_header("ETag", '"1"')
            handler.end_headers()
            if handler.command == "GET":
                handler.wfile.write(content)
            handler.close_connection = True

        server.answers["/laws.txt"] = [answer]
    with pytest.raises(SourceError, match=r"corpus.max_download_bytes permits 100,000; raise it"):
        build_corpus(http_source(f"{server.url}/laws.txt"), max_download_bytes=100_000)
    assert not list((store.root / "downloads").glob("*.part"))


def test_broken_download_is_resumed_where_it_stopped(server, build_corpus, texts):
    content = b"".join(b"%07d\n" % number for number in range(100_000))
    server.serve("/laws.txt", content)
    server.cut("/laws.txt", content, at=600_000)
    server.answers["/laws.txt"].insert(0, server.answers["/laws.txt"][-1])  # HEAD
    manifest = build_corpus(http_source(f"{server.url}/laws.txt"))
    assert texts(manifest) == {"web/laws.txt": content.decode()}
    ranges = [headers.get("Range") for method, _, headers in server.requests if method == "GET"]
    assert ranges[0] is None
    assert int(ranges[1].removeprefix("bytes=").rstrip("-")) > 0


@pytest.mark.parametrize("etag", [None, 'W/"1"'])
def test_broken_download_of_an_uncertain_version_begins_anew(server, build_corpus, texts, etag):
    content = b"".join(b"%07d\n" % number for number in range(100_000))
    server.serve("/laws.txt", content, etag=etag)
    server.cut("/laws.txt", content, at=600_000, etag=etag)
    server.answers["/laws.txt"].insert(0, server.answers["/laws.txt"][-1])
    assert texts(build_corpus(http_source(f"{server.url}/laws.txt"))) == {"web/laws.txt": content.decode()}
    assert all("Range" not in headers for _, _, headers in server.requests)


def test_file_that_changes_while_it_is_resumed_begins_anew(server, build_corpus, texts):
    old, new = b"old\n" * 200_000, b"new\n" * 200_000
    server.serve("/laws.txt", new, etag='"2"')
    server.cut("/laws.txt", old, at=600_000, etag='"1"')
    server.answers["/laws.txt"].insert(0, server.answers["/laws.txt"][-1])
    assert texts(build_corpus(http_source(f"{server.url}/laws.txt"))) == {"web/laws.txt": new.decode()}


def test_download_that_a_killed_run_left_is_continued_by_the_next(server, store, build_corpus, texts, monkeypatch):
    content = b"".join(b"%07d\n" % number for number in range(100_000))
    server.serve("/laws.txt", content)
    server.cut("/laws.txt", content, at=600_000)
    server.answers["/laws.txt"].insert(0, server.answers["/laws.txt"][-1])
    monkeypatch.setattr("minimind.corpus.download.RETRY_DELAYS", ())
    with pytest.raises(SourceError, match="what has arrived is kept"):
        build_corpus(http_source(f"{server.url}/laws.txt"))
    (part,) = (store.root / "downloads").glob("*.part")
    left = part.stat().st_size
    assert left > 0
    assert texts(build_corpus(http_source(f"{server.url}/laws.txt"))) == {"web/laws.txt": content.decode()}
    assert server.requests[-1][2]["Range"] == f"bytes={left}-"


def test_members_that_match_nothing_are_said(server, build_corpus, archive):
    server.serve("/laws.zip", archive)
    with pytest.raises(SourceError, match=r"nothing in its archives matches \*\.rst"):
        build_corpus(http_source(f"{server.url}/laws.zip", members=["**/*.md", "*.rst"]))


def test_same_id_in_two_archives_is_counted_as_unreadable(server, build_corpus, archive):
    server.serve("/laws.zip", archive)
    server.serve("/copy.zip", archive)
    urls = (f"{server.url}/laws.zip", f"{server.url}/copy.zip")
    with pytest.raises(SourceError, match=r"its id 'web/a/index\.md' stands in an earlier document"):
        build_corpus(http_source(*urls))


def test_url_without_a_known_format_is_refused_unless_the_server_names_the_file(server, build_corpus, archive):
    server.serve("/zipball", archive)
    with pytest.raises(SourceError, match=r"names no format that can be read; these can: \.txt"):
        build_corpus(http_source(f"{server.url}/zipball"))
    server.serve("/named", archive, Content_Disposition='attachment; filename="../../laws-1.zip"')
    assert build_corpus(http_source(f"{server.url}/named")).counts["documents"] == 3


def test_name_on_disk_stays_in_the_download_folder(server, store, build_corpus):
    server.serve("/..%2f..%2fevil.txt", b"Text.")
    build_corpus(http_source(f"{server.url}/..%2f..%2fevil.txt"))
    files = [path.name for path in (store.root / "downloads").iterdir()]
    assert len(files) == 2
    assert all("/" not in name and ".." not in name for name in files)


# --- secrets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://host/a.zip", "https://host/a.zip"),
        ("https://user:pass@host:8443/a.zip", "https://***@host:8443/a.zip"),
        ("https://token@host/a.zip", "https://***@host/a.zip"),
        ("https://host/a.zip?v=2&X-Amz-Signature=abc&sig=d", "https://host/a.zip?v=2&X-Amz-Signature=***&sig=***"),
    ],
)
def test_url_is_masked(url, shown):
    assert masked(url) == shown


def test_secrets_of_a_url_reach_the_server_and_nothing_else(server, store, build_corpus, archive, caplog):
    caplog.set_level(logging.DEBUG)
    server.serve("/laws.zip", archive)
    url = server.url.replace("http://", "http://reader:geheim@")
    build_corpus(http_source(f"{url}/laws.zip?access_token=geheim"))
    server.fail("/gone.zip", 500)
    with pytest.raises(SourceError) as error:
        build_corpus(http_source(f"{url}/gone.zip"))
    assert server.requests[0][1] == "/laws.zip?access_token=geheim"
    assert server.requests[0][2]["Authorization"] == httpx.BasicAuth("reader", "geheim")._auth_header
    said = caplog.text + str(error.value)
    for path in store.root.rglob("*"):
        said += path.read_bytes().decode("latin-1") if path.is_file() else path.name
    assert "geheim" not in said
    assert "***@127.0.0.1" in said
