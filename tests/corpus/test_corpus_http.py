"""The http source against a server on this machine: what is fetched, resumed, retried, refused, and never said."""

import gzip
import hashlib
import json
import logging
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from corpus_sections import section_of
from packed import pack

from minimind.corpus.answers import retry_after
from minimind.corpus.download import Download, Downloader, Wanted, open_client
from minimind.corpus.files import read_file
from minimind.corpus.parallel import DownloadPart, Pace, Transfers, download
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
    assert (len(server.requests), server.sent) == (3, len(archive))


def test_new_version_on_the_server_is_fetched_and_built(tmp_path, server, build_corpus, texts, archive):
    server.serve("/laws.zip", archive)
    build_corpus(http_source(f"{server.url}/laws.zip"))
    newer = pack(tmp_path / "newer.zip", [("laws-next/a/index.md", "# A law, amended\n")]).read_bytes()
    server.serve("/laws.zip", newer, etag='"2"')
    manifest = build_corpus(http_source(f"{server.url}/laws.zip"))
    assert not manifest.reused
    assert texts(manifest) == {"web/a/index.md": "# A law, amended\n"}


def test_second_run_fetches_only_what_changed(server, build_corpus, texts):
    for name in "abc":
        server.serve(f"/{name}.txt", name.encode() * 100_000)
    urls = [f"{server.url}/{name}.txt" for name in "abc"]
    build_corpus(http_source(*urls))
    server.serve("/b.txt", b"New.", etag='"2"')
    server.sent = 0
    assert texts(build_corpus(http_source(*urls)))["web/b.txt"] == "New."
    assert (len(server.requests), server.sent) == (6, len(b"New."))


def test_kept_download_serves_another_build_of_the_same_version(server, build_corpus, archive):
    server.serve("/laws.zip", archive)
    build_corpus(http_source(f"{server.url}/laws.zip"))
    build_corpus(http_source(f"{server.url}/laws.zip", members=["a/*"]))
    assert server.sent == len(archive)


def test_server_that_ignores_conditions_sends_an_unchanged_file_once(server, store, build_corpus, archive):
    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(archive)))
        handler.send_header("Last-Modified", "Sun, 31 May 2026 00:00:00 GMT")
        handler.end_headers()
        handler.wfile.write(archive)

    server.answers["/laws.zip"] = [answer]
    build_corpus(http_source(f"{server.url}/laws.zip"))
    (kept,) = (store.root / "downloads").glob("*.zip")
    before = kept.stat().st_mtime_ns
    assert build_corpus(http_source(f"{server.url}/laws.zip")).reused
    assert server.requests[1][2]["If-Modified-Since"] == "Sun, 31 May 2026 00:00:00 GMT"
    assert kept.stat().st_mtime_ns == before


def test_file_that_changes_without_a_new_content_is_not_built_again(server, build_corpus, archive):
    server.serve("/laws.zip", archive)
    build_corpus(http_source(f"{server.url}/laws.zip"))
    server.serve("/laws.zip", archive, etag='"2"')
    assert build_corpus(http_source(f"{server.url}/laws.zip")).reused


def test_manifest_line_of_a_file_names_the_version_of_its_server(server, build_corpus, archive):
    server.serve("/laws.zip", archive, Last_Modified="Sun, 31 May 2026 00:00:00 GMT")
    manifest = build_corpus(http_source(f"{server.url}/laws.zip"))
    (line,) = map(json.loads, manifest.file("files.jsonl").read_text().splitlines())
    assert line["path"] == f"{server.url}/laws.zip"
    assert line["sha256"] == hashlib.sha256(archive).hexdigest()
    assert (line["etag"], line["last_modified"]) == ('"1"', "Sun, 31 May 2026 00:00:00 GMT")


# --- one file replaced by another while the corpus is built -----------------------------------------------------------


def test_what_is_read_is_what_was_probed_though_the_server_has_something_newer(server, store, build_corpus, texts):
    server.serve("/law.txt", b"Old.")
    first = server.answers["/law.txt"]
    server.serve("/law.txt", b"New.", etag='"2"')
    server.answers["/law.txt"] = first + server.answers["/law.txt"]
    manifest = build_corpus(http_source(f"{server.url}/law.txt"))
    assert texts(manifest) == {"web/law.txt": "Old."}
    assert list(manifest.inputs.values()) == [f"sha256 {hashlib.sha256(b'Old.').hexdigest()}"]


def test_file_replaced_after_its_probe_is_refused_where_the_probed_one_is_gone(server, store, build_corpus):
    server.serve("/law.txt", b"Old.")
    build_corpus(http_source(f"{server.url}/law.txt"))
    (kept,) = (store.root / "downloads").glob("*.txt")
    kept.unlink()
    same = server.answers["/law.txt"]
    server.serve("/law.txt", b"New.", etag='"2"')
    server.answers["/law.txt"] = same + server.answers["/law.txt"]
    with pytest.raises(SourceError, match=r"it has just been replaced on the server: run again"):
        build_corpus(http_source(f"{server.url}/law.txt", license="CC0-1.0"))
    assert build_corpus(http_source(f"{server.url}/law.txt", license="CC0-1.0")).counts["documents"] == 1


def test_download_replaced_by_another_run_while_it_is_read_is_refused(server, store, build_corpus, monkeypatch):
    server.serve("/law.txt", b"Old.")

    def replace_then_read(file):
        file.path.write_bytes(b"New.")
        return read_file(file)

    monkeypatch.setattr("minimind.corpus.sources.http.read_file", replace_then_read)
    with pytest.raises(SourceError, match="another run has replaced the download while it was read"):
        build_corpus(http_source(f"{server.url}/law.txt"))
    assert store.manifests("corpus") == []


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
    assert len(server.requests) == 1
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
    manifest = build_corpus(http_source(f"{server.url}/laws.txt"))
    assert texts(manifest) == {"web/laws.txt": content.decode()}
    ranges = [headers.get("Range") for method, _, headers in server.requests if method == "GET"]
    assert ranges[0] is None
    assert int(ranges[1].removeprefix("bytes=").rstrip("-")) > 0


def test_tries_that_bring_a_download_on_do_not_count(server, build_corpus, texts, monkeypatch):
    monkeypatch.setattr("minimind.corpus.retries.BROUGHT_ON_BYTES", 50_000)
    content = b"".join(b"%07d\n" % number for number in range(100_000))

    def a_piece(handler):
        start = int(handler.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        handler.send_response(206 if start else 200)
        handler.send_header("ETag", '"1"')
        handler.send_header("Content-Length", str(len(content) - start))
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        handler.end_headers()
        handler.wfile.write(content[start : start + 100_000])
        handler.wfile.flush()
        handler.close_connection = True

    server.answers["/laws.txt"] = [a_piece]
    assert texts(build_corpus(http_source(f"{server.url}/laws.txt"))) == {"web/laws.txt": content.decode()}
    assert len(server.requests) == 8


@pytest.mark.parametrize("etag", [None, 'W/"1"'])
def test_broken_download_of_an_uncertain_version_begins_anew(server, build_corpus, texts, etag):
    content = b"".join(b"%07d\n" % number for number in range(100_000))
    server.serve("/laws.txt", content, etag=etag)
    server.cut("/laws.txt", content, at=600_000, etag=etag)
    assert texts(build_corpus(http_source(f"{server.url}/laws.txt"))) == {"web/laws.txt": content.decode()}
    assert all("Range" not in headers for _, _, headers in server.requests)


def test_file_that_changes_while_it_is_resumed_begins_anew(server, build_corpus, texts):
    old, new = b"old\n" * 200_000, b"new\n" * 200_000
    server.serve("/laws.txt", new, etag='"2"')
    server.cut("/laws.txt", old, at=600_000, etag='"1"')
    assert texts(build_corpus(http_source(f"{server.url}/laws.txt"))) == {"web/laws.txt": new.decode()}


def test_download_that_a_killed_run_left_is_continued_by_the_next(server, store, build_corpus, texts, monkeypatch):
    content = b"".join(b"%07d\n" % number for number in range(100_000))
    server.serve("/laws.txt", content)
    server.cut("/laws.txt", content, at=600_000)
    monkeypatch.setattr("minimind.corpus.retries.RETRY_DELAYS", ())
    with pytest.raises(SourceError, match="what has arrived is kept"):
        build_corpus(http_source(f"{server.url}/laws.txt"))
    (part,) = (store.root / "downloads").glob("*.part")
    left = part.stat().st_size
    assert left > 0
    assert texts(build_corpus(http_source(f"{server.url}/laws.txt"))) == {"web/laws.txt": content.decode()}
    assert server.requests[-1][2]["Range"] == f"bytes={left}-"


# --- servers that lie -------------------------------------------------------------------------------------------------


def raw_answer(head: str, body: bytes):
    """An answer of exactly these bytes, after which the server hangs up."""

    def answer(handler):
        handler.wfile.write(f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode() + body)
        handler.wfile.flush()
        handler.close_connection = True

    return answer


def test_server_that_announces_more_than_it_sends_is_refused(server, store, build_corpus):
    server.answers["/law.txt"] = [raw_answer("Content-Length: 1000", b"x" * 600)]
    with pytest.raises(SourceError, match=r"received 600 bytes, expected 1000\) \(4 tries\)"):
        build_corpus(http_source(f"{server.url}/law.txt"))
    assert store.manifests("corpus") == []


@pytest.mark.parametrize("size", [600, 2_000_000])
def test_server_that_sends_more_than_it_announces_is_refused(server, store, build_corpus, size):
    server.answers["/law.txt"] = [raw_answer(f"Content-Length: {size - 100}", b"x" * size)]
    with pytest.raises(SourceError, match=rf"it sent more than the {size - 100:,} bytes that it announced \(4 tries\)"):
        build_corpus(http_source(f"{server.url}/law.txt"))
    assert list((store.root / "downloads").iterdir()) == []


def test_server_that_hangs_up_after_the_right_length_is_fine(server, build_corpus):
    server.answers["/law.txt"] = [raw_answer("Content-Length: 600", b"x" * 600)]
    assert build_corpus(http_source(f"{server.url}/law.txt")).counts["bytes"] == 600


MONDAY, TUESDAY = (format_datetime(datetime(2026, 6, day, tzinfo=UTC), usegmt=True) for day in (1, 2))


@pytest.mark.parametrize(
    ("begun", "longer", "said"),
    [
        ({"etag": '"1"'}, 8, {}),
        ({"etag": '"1"'}, 0, {"ETag": '"2"'}),
        ({"etag": None, "Last_Modified": MONDAY}, 0, {"Last-Modified": TUESDAY}),
    ],
    ids=["length", "etag", "time"],
)
def test_rest_of_another_file_than_the_one_begun_is_not_appended(server, build_corpus, texts, begun, longer, said):
    content = b"A line.\n" * 100_000
    length = len(content) + longer

    def rest_of_another(handler):
        start = int(handler.headers["Range"].removeprefix("bytes=").rstrip("-"))
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes {start}-{length - 1}/{length}")
        handler.send_header("Content-Length", str(length - start))
        for name, value in said.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(b"z" * (length - start))

    server.serve("/laws.txt", content)
    server.answers["/laws.txt"].insert(0, rest_of_another)
    server.cut("/laws.txt", content, at=600_000, **begun)
    assert texts(build_corpus(http_source(f"{server.url}/laws.txt"))) == {"web/laws.txt": content.decode()}
    assert sum("Range" in headers for _, _, headers in server.requests) == 1


@pytest.mark.parametrize("name", ["laws.jsonl", "laws.parquet", "laws.tar.gz", "laws.txt"])
@pytest.mark.parametrize("content_type", ["text/html; charset=utf-8", "application/octet-stream"])
def test_web_page_in_place_of_data_is_refused_and_not_kept(server, store, build_corpus, name, content_type):
    server.serve(f"/{name}", b"\n<!DOCTYPE html>\n<title>Log in</title>", Content_Type=content_type)
    with pytest.raises(SourceError, match=rf"/{name}: the server answered with a web page instead of the file"):
        build_corpus(http_source(f"{server.url}/{name}"))
    assert list((store.root / "downloads").iterdir()) == []


def test_web_page_is_read_where_one_is_asked_for(server, build_corpus):
    page = b"<!DOCTYPE html><title>A law</title><article><p>" + b"The text of a law that is long enough. " * 20
    server.serve("/law.html", page, Content_Type="text/html")
    assert build_corpus(http_source(f"{server.url}/law.html?version=1")).counts["documents"] == 1


def test_file_called_a_web_page_is_read_where_its_checksum_is_right(server, build_corpus):
    content = json.dumps({"id": "a", "text": "Text."}).encode()
    server.serve("/laws.jsonl", content, Content_Type="text/html")
    digest = hashlib.sha256(content).hexdigest()
    assert build_corpus(http_source(f"{server.url}/laws.jsonl", sha256=digest)).counts["documents"] == 1


def test_stalled_server_is_left_after_a_while(server, build_corpus, monkeypatch):
    monkeypatch.setattr("minimind.corpus.retries.TIMEOUT_SECONDS", 0.2)
    released, given_up = threading.Event(), []
    server.serve("/law.txt", b"Law.")

    def stall(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.flush()
        if not released.wait(60):
            given_up.append(handler)

    server.answers["/law.txt"].insert(0, stall)
    assert build_corpus(http_source(f"{server.url}/law.txt")).counts["documents"] == 1
    assert not given_up  # the server still stalls
    server.answers["/law.txt"] = [stall]
    with pytest.raises(SourceError, match=r"it sent nothing for 0\.2 s \(4 tries\)"):
        build_corpus(http_source(f"{server.url}/law.txt"))
    released.set()


def test_server_that_drips_is_taken_for_stalled(server, build_corpus, monkeypatch):
    monkeypatch.setattr("minimind.corpus.download.WATCHED_SECONDS", 0.2)
    monkeypatch.setattr("minimind.corpus.retries.RETRY_DELAYS", ())

    def drip(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        for _ in range(40):
            handler.wfile.write(b"x")
            handler.wfile.flush()
            time.sleep(0.02)

    server.answers["/law.txt"] = [drip]
    with pytest.raises(SourceError, match=r"it sent only \d+ bytes in 0\.2 s"):
        build_corpus(http_source(f"{server.url}/law.txt"))


# --- patience and pace ------------------------------------------------------------------------------------------------


def busy(seconds: str):
    def answer(handler):
        handler.send_response(429)
        handler.send_header("Retry-After", seconds)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


@pytest.fixture
def waits(monkeypatch):
    """The seconds that transfers would have waited; the clock stands still."""
    waited = []
    monkeypatch.setattr("minimind.corpus.parallel.time", SimpleNamespace(monotonic=lambda: 0.0))
    monkeypatch.setattr(Transfers, "sleep", lambda self, seconds: waited.append(seconds))
    return waited


def test_server_that_asks_to_wait_is_waited_for(server, build_corpus, waits):
    server.serve("/law.txt", b"Law.")
    server.answers["/law.txt"].insert(0, busy("7"))
    build_corpus(http_source(f"{server.url}/law.txt"))
    assert 7 in waits


def test_server_that_asks_to_wait_for_an_hour_is_not(server, build_corpus):
    server.answers["/law.txt"] = [busy("3600")]
    with pytest.raises(SourceError, match=r"429 Too Many Requests and wants to be left alone for 3,600 s; run again"):
        build_corpus(http_source(f"{server.url}/law.txt"))
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("text", "seconds"), [("", 0), ("7", 7), ("soon", 0), ("-3", 0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0)]
)
def test_retry_after_is_read(text, seconds):
    assert retry_after(httpx.Response(503, headers={"Retry-After": text})) == seconds


def test_retry_after_is_read_as_a_date():
    soon = format_datetime(datetime.now(UTC) + timedelta(hours=10), usegmt=True)
    assert 9 * 3600 < retry_after(httpx.Response(503, headers={"Retry-After": soon})) <= 10 * 3600


def test_as_many_files_as_permitted_are_fetched_at_once(server, build_corpus):
    at_once, most, lock = 0, 0, threading.Lock()

    def slow(handler):
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.2)
        with lock:
            at_once -= 1
        handler.send_response(200)
        handler.send_header("Content-Length", "4")
        handler.end_headers()
        handler.wfile.write(b"Law.")

    urls = [f"{server.url}/{number}.txt" for number in range(8)]
    server.answers = {f"/{number}.txt": [slow] for number in range(8)}
    assert build_corpus(http_source(*urls), parallel_downloads=3).counts["documents"] == 8
    assert most == 3


class Others:
    """Workers that begin with all parts at once, and fetch nothing."""

    at_once = 4
    elsewhere = True

    def __init__(self):
        self.parts = []

    def each(self, work, parts, report):
        self.parts += parts
        return ((part, list(part.files)) for part in reversed(parts))


@pytest.mark.parametrize(("permitted", "files", "parts"), [(1, 5, 1), (3, 20, 3), (20, 20, 8), (64, 2, 2)])
def test_parts_fetched_elsewhere_have_no_more_transfers_than_permitted(store, permitted, files, parts):
    others, urls = Others(), [f"https://host/{number}.txt" for number in range(files)]
    section = section_of([http_source(*urls)], parallel_downloads=permitted, requests_per_second=10.0)
    assert download(None, urls, section, Pace(10.0), store, others) == urls
    assert len(others.parts) == parts
    assert sum(part.threads for part in others.parts) <= permitted
    assert min(part.threads for part in others.parts) >= 1


def test_requests_to_one_host_keep_their_distance(server, build_corpus, waits):
    for number in range(5):
        server.serve(f"/{number}.txt", b"Law.")
    urls = [f"{server.url}/{number}.txt" for number in range(5)]
    build_corpus(http_source(*urls), parallel_downloads=5, requests_per_second=10.0)
    assert sorted(filter(None, waits)) == pytest.approx([0.1 * place for place in range(1, len(server.requests))])


def test_downloads_say_how_far_they_are(server, store, monkeypatch):
    monkeypatch.setattr("minimind.corpus.parallel.SECONDS_BETWEEN_REPORTS", 0.05)
    monkeypatch.setattr("minimind.corpus.progress.SECONDS_BETWEEN_REPORTS", 0.0)

    def slow(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "400000")
        handler.end_headers()
        for _ in range(4):
            handler.wfile.write(b"x" * 100_000)
            time.sleep(0.1)

    server.answers = {"/a.txt": [slow], "/b.txt": [slow]}
    said = []
    watched = replace(store, report=lambda *report: said.append(report))
    downloader = Downloader(watched, section_of([http_source(f"{server.url}/a.txt")]))
    downloader.fetch([Wanted(f"{server.url}/a.txt"), Wanted(f"{server.url}/b.txt")])
    assert any(0 < done < total == 800_000 for _, done, total, _ in said if total)
    assert all(stage == "corpus" and "of 2 files are here" in text for stage, _, _, text in said)


def test_one_file_over_the_limit_stops_the_others(server, store, build_corpus):
    server.serve("/-big.txt", b"x" * 300_000)
    urls = [f"{server.url}/-big.txt"]
    for number in range(20):
        server.serve(f"/{number}.txt", b"x" * 50_000)
        urls.append(f"{server.url}/{number}.txt")
    with pytest.raises(SourceError, match=r"/-big.txt has 300,000 bytes or more"):
        build_corpus(http_source(*urls), max_download_bytes=100_000, parallel_downloads=4, requests_per_second=10.0)
    assert server.sent < 10 * 50_000


# --- redirects --------------------------------------------------------------------------------------------------------


def redirect(place: str):
    def answer(handler):
        handler.send_response(302)
        handler.send_header("Location", place)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def test_redirect_is_followed_and_the_password_stays_behind(server, store, build_corpus, archive, caplog):
    caplog.set_level(logging.DEBUG)
    server.serve("/there.zip", archive)
    elsewhere = server.url.replace("127.0.0.1", "localhost")
    server.answers["/laws.zip"] = [redirect(f"{elsewhere}/there.zip?signature=geheim")]
    url = server.url.replace("http://", "http://reader:geheim@")
    manifest = build_corpus(http_source(f"{url}/laws.zip"))
    assert manifest.counts["documents"] == 3
    assert ["Authorization" in headers for _, _, headers in server.requests] == [True, False]
    said = caplog.text + "".join(path.read_text("latin-1") for path in store.root.rglob("*") if path.is_file())
    assert "geheim" not in said


def test_redirects_in_a_circle_are_refused(server, build_corpus):
    server.answers["/laws.zip"] = [redirect("/laws.zip")]
    with pytest.raises(SourceError, match=r"/laws\.zip cannot be read: .*redirect.*; check the URL"):
        build_corpus(http_source(f"{server.url}/laws.zip"))
    assert len(server.requests) == 11


def test_redirect_to_what_is_no_web_address_is_refused(server, build_corpus):
    server.answers["/laws.zip"] = [redirect("file:///etc/passwd")]
    with pytest.raises(SourceError, match=r"/laws\.zip cannot be read: "):
        build_corpus(http_source(f"{server.url}/laws.zip"))


def test_redirect_from_https_to_http_is_refused(server, store):
    part = DownloadPart(0, (Wanted("https://host/a.zip"),), store, 10**8, 1, Pace(1000.0))
    with open_client() as client:
        download = Download(part, client, Wanted("https://host/a.zip?key=geheim"), None, Transfers())
        request = httpx.Request("GET", f"{server.url}/a.zip", extensions={"before": download._before_request})
        with pytest.raises(SourceError, match=r"https://host/a.zip\?key=\*\*\* is redirected to 127.0.0.1 without"):
            client.send(request)


# --- members, ids and names -------------------------------------------------------------------------------------------


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
