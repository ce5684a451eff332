"""The stage as a whole: same bytes, when it is reused, ids, and what lands in the manifest."""

import json
import os
import random
import subprocess
import sys

import pytest

from minimind.errors import CorpusTooSmallError, DiskFullError, SourceError
from minimind.store import Store


@pytest.fixture
def laws(tmp_path):
    folder = tmp_path / "laws"
    for number in range(30):
        path = folder / "abc"[number % 3] / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"Law {number}. " * random.Random(number).randrange(1, 50))
    lines = [json.dumps({"id": f"j{number}", "text": f"Line {number}."}) for number in (3, 1, 2)]
    (folder / "lines.jsonl").write_text("\n".join(lines))
    return folder


def content_of(manifest):
    return {name: manifest.file(name).read_bytes() for name in manifest.files}


def test_same_config_and_files_give_the_same_bytes(laws, tmp_path, build_corpus):
    first = build_corpus(laws / "**", store=Store(tmp_path / "one", "tests"))
    again = build_corpus(laws / "**", store=Store(tmp_path / "two", "tests"))
    assert first.fingerprint == again.fingerprint
    assert content_of(first) == content_of(again)


def test_order_of_globs_and_of_the_file_system_does_not_matter(laws, tmp_path, build_corpus, monkeypatch):
    globs = [laws / "a/*.txt", laws / "**/*.txt", laws / "*.jsonl", laws / "b/3*"]
    (laws / "b" / "31.txt").write_text("Law 31.")
    first = build_corpus(*globs)
    found = __import__("glob").glob
    monkeypatch.setattr("glob.glob", lambda *args, **kwargs: found(*args, **kwargs)[::-1])
    again = build_corpus(*globs[::-1])
    assert not again.reused
    assert content_of(first) == content_of(again)
    assert first.counts["documents"] == 34


def test_document_ids_are_sorted_and_unique_over_all_sources(laws, build_corpus, read):
    sources = [{"kind": "local_files", "name": name, "paths": [f"{laws}/**"]} for name in ("own", "a-copy")]
    ids = [row["document_id"] for row in read(build_corpus(*sources))]
    assert ids == sorted(set(ids))
    assert len(ids) == 66


def test_untouched_files_are_reused_and_a_touched_one_gives_the_same_bytes(laws, build_corpus):
    first = build_corpus(laws / "**")
    assert build_corpus(laws / "**").reused
    os.utime(laws / "a/0.txt", (1, 1))
    touched = build_corpus(laws / "**")
    assert not touched.reused
    assert content_of(touched) == content_of(first)


@pytest.mark.parametrize("change", ["edited", "added", "removed"])
def test_changed_files_are_read_again(laws, build_corpus, texts, change):
    first = build_corpus(laws / "**")
    if change == "edited":
        (laws / "a/0.txt").write_text("Law 0, amended.")
    elif change == "added":
        (laws / "a/new.txt").write_text("A new law.")
    else:
        (laws / "a/0.txt").unlink()
    again = build_corpus(laws / "**")
    assert not again.reused
    assert texts(again) != texts(first)


def test_refresh_sees_a_change_that_keeps_size_and_time(laws, build_corpus, texts):
    path = laws / "a/0.txt"
    before = path.stat()
    first = build_corpus(laws / "**")
    path.write_text("X" * before.st_size)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert build_corpus(laws / "**").reused
    refreshed = build_corpus(laws / "**", refresh=True)
    assert refreshed.fingerprint == first.fingerprint
    assert not refreshed.reused
    assert texts(refreshed)["own/a/0.txt"].startswith("XX")
    assert build_corpus(laws / "**", refresh=True).reused


def test_very_many_files_are_probed_as_one(laws, build_corpus, monkeypatch):
    monkeypatch.setattr("minimind.corpus.sources.local_files.MAX_PROBED_FILES", 10)
    first = build_corpus(laws / "**")
    assert list(first.inputs) == ["own: 31 files"]
    assert build_corpus(laws / "**").reused
    (laws / "a/0.txt").write_text("Law 0, amended.")
    assert not build_corpus(laws / "**").reused


def test_manifest_and_file_list_tell_what_was_read(laws, build_corpus, read):
    manifest = build_corpus(laws / "**")
    rows = read(manifest)
    text_bytes = sum(len(row["text"].encode()) for row in rows)
    assert manifest.counts == {"documents": 33, "bytes": text_bytes, "files": 31, "unreadable": 0, "excluded": 0}
    assert manifest.details["sources"]["own"] == {
        "documents": 33,
        "bytes": text_bytes,
        "excluded": 0,
        "licenses": {"not stated": 33},
        "skipped": {},
        "repaired": {},
    }
    files = [json.loads(line) for line in manifest.file("files.jsonl").read_text().splitlines()]
    assert sum(file["documents"] for file in files) == 33
    assert set(files[0]) == {"source", "path", "bytes", "sha256", "documents", "license"}


def test_excluded_documents_are_counted_and_read_by_no_later_stage(laws, build_corpus, texts):
    manifest = build_corpus(laws / "**", exclude_ids=["own/a/0.txt", "own/j2"])
    assert not {"own/a/0.txt", "own/j2"} & texts(manifest).keys()
    assert (manifest.counts["documents"], manifest.counts["excluded"]) == (31, 2)
    assert manifest.details["sources"]["own"]["excluded"] == 2
    assert manifest.details["excluded_in_vain"] == []


def test_excluded_documents_are_found_in_batches_of_many_rows(tmp_path, build_corpus, texts):
    path = tmp_path / "many.jsonl"
    path.write_text("".join(json.dumps({"id": f"{n:04}", "text": f"Law {n}."}) + "\n" for n in range(600)))
    manifest = build_corpus(path, exclude_ids=["own/0007"])
    assert manifest.counts["excluded"] == 1
    assert texts(manifest).keys() == {f"own/{n:04}" for n in range(600) if n != 7}


def test_excluded_id_that_no_document_has_is_said(laws, build_corpus, caplog):
    manifest = build_corpus(laws / "**", exclude_ids=["0.txt", "own/j2"])
    assert "no document has the id '0.txt'" in caplog.text
    assert "own/j2" not in caplog.text
    assert manifest.details["excluded_in_vain"] == ["0.txt"]


def test_source_of_excluded_documents_alone_is_refused_with_the_reason(tmp_path, build_corpus):
    (tmp_path / "a.txt").write_text("A law.")
    with pytest.raises(CorpusTooSmallError, match=r"no document but 1 of corpus\.exclude_ids"):
        build_corpus(tmp_path / "a.txt", exclude_ids=["own/a.txt"])


def test_nothing_but_the_two_kinds_of_files_is_published(laws, build_corpus):
    manifest = build_corpus(laws / "**")
    assert sorted(path.name for path in manifest.path.iterdir()) == [
        "documents-00000.parquet",
        "files.jsonl",
        "manifest.json",
    ]


def test_one_bad_source_leaves_the_store_as_it_was(laws, build_corpus, store):
    bad = {"kind": "local_files", "name": "bad", "paths": [str(laws / "*.docx")]}
    with pytest.raises(SourceError, match="source bad"):
        build_corpus(laws / "**", bad)
    assert not (store.root / "corpus").exists()


def test_full_disk_is_said_in_one_sentence(laws, build_corpus, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("minimind.corpus.document.parquet_writer", full)
    with pytest.raises(DiskFullError, match="is full; free some space"):
        build_corpus(laws / "**")


def test_progress_is_reported_in_bytes_and_then_in_documents(laws, tmp_path, build_corpus, monkeypatch):
    monkeypatch.setattr("minimind.corpus.progress.SECONDS_BETWEEN_REPORTS", 0.0)
    seen = []
    build_corpus(laws / "**", store=Store(tmp_path / "store", "tests", lambda *told: seen.append(told)))
    size = sum(path.stat().st_size for path in laws.rglob("*.*"))
    done = [done for stage, done, total, text in seen if text.startswith("own: ")]
    assert {total for stage, done, total, text in seen[:-1]} == {size}
    assert done == sorted(done)
    assert 0 < done[-1] <= size
    assert seen[-1] == ("corpus", 33, 33, "writing documents in order")


def test_importing_the_stage_brings_in_neither_torch_nor_datasets():
    code = "import sys, minimind.corpus.build; print({'torch', 'datasets', 'mlflow', 'prefect'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
