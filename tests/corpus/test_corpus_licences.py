"""Licence texts of this machine: which files count, under which ids, and that the list stays frozen."""

import importlib.metadata
import json
from pathlib import Path

import pytest

from minimind.corpus.sources import software_licences
from minimind.errors import SourceError

LICENCES = {"kind": "software_licences", "name": "licences"}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty machine: folders `site`, `common` and `doc` under the path that comes back."""
    for name in ("site", "common", "doc"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(software_licences, "COMMON_LICENSES", tmp_path / "common")
    monkeypatch.setattr(software_licences, "DEBIAN_DOCUMENTS", tmp_path / "doc")
    here = str(tmp_path / "site")
    found = importlib.metadata.distributions
    monkeypatch.setattr(importlib.metadata, "distributions", lambda: found(path=[here]))
    return tmp_path


def install(machine: Path, name: str, files: dict[str, bytes], version: str = "1.0", metadata: str = "") -> None:
    """A distribution with the files, `{info}` in their paths standing for its dist-info folder."""
    info = f"{name}-{version}.dist-info"
    record = ""
    for path, content in files.items():
        path = path.format(info=info)
        (machine / "site" / path).parent.mkdir(parents=True, exist_ok=True)
        (machine / "site" / path).write_bytes(content)
        record += f"{path},,\n"
    (machine / "site" / info).mkdir(exist_ok=True)
    (machine / "site" / info / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n{metadata}\n")
    (machine / "site" / info / "RECORD").write_text(record)


def debian(machine: Path, package: str, text: str = "Copyright.") -> Path:
    (machine / "doc" / package).mkdir()
    path = machine / "doc" / package / "copyright"
    path.write_text(text)
    return path


def test_licence_files_of_distributions_are_found_under_stable_ids(machine, build_corpus, read):
    files = {
        "{info}/licenses/LICENSE": b"MIT text.",
        "{info}/licenses/vendor/COPYING.BSD": b"BSD text.",
        "{info}/licenses/AUTHORS": b"Everybody.",
        "tool/NOTICE": b"Notice.",
        "tool/licence.py": b"print()",
        "tool/license.json": b"{}",
    }
    install(machine, "Some_Tool", files, metadata="License-Expression: MIT AND BSD-3-Clause")
    rows = {row["document_id"]: row for row in read(build_corpus(LICENCES))}
    assert sorted(rows) == [
        "licences/python/some-tool/licenses/LICENSE",
        "licences/python/some-tool/licenses/vendor/COPYING.BSD",
        "licences/python/some-tool/tool/NOTICE",
    ]
    row = rows["licences/python/some-tool/tool/NOTICE"]
    assert (row["text"], row["license"]) == ("Notice.", "MIT AND BSD-3-Clause")
    assert row["metadata"] == {"origin": "some-tool 1.0", "path": "tool/NOTICE"}


@pytest.mark.parametrize(
    ("metadata", "license"),
    [
        ("", None),
        ("License: UNKNOWN", None),
        ("License: MIT", "MIT"),
        ("License: " + "long " * 30, None),
        ("License: Apache\nLicense-Expression: Apache-2.0", "Apache-2.0"),
    ],
)
def test_license_is_what_the_distribution_declares_in_few_words(machine, build_corpus, read, metadata, license):
    install(machine, "tool", {"{info}/LICENSE": b"Text."}, metadata=metadata)
    assert [row["license"] for row in read(build_corpus(LICENCES))] == [license]


def test_each_debian_text_is_read_once_however_many_links_lead_to_it(machine, build_corpus, texts):
    (machine / "common/GPL-3").write_text("GPL.")
    (machine / "common/GPL").symlink_to("GPL-3")
    debian(machine, "gcc-12-base", "GCC.")
    (machine / "doc/gcc").symlink_to("gcc-12-base")
    (machine / "doc/cpp").mkdir()
    (machine / "doc/cpp/copyright").symlink_to("../gcc-12-base/copyright")
    assert texts(build_corpus(LICENCES)) == {
        "licences/common-licenses/GPL-3": "GPL.",
        "licences/debian/gcc-12-base": "GCC.",
    }


def test_links_out_of_the_folders_are_not_followed(machine, build_corpus, texts):
    debian(machine, "base")
    secret = machine / "secret"
    secret.mkdir()
    (secret / "copyright").write_text("Secret.")
    (machine / "doc/folder").symlink_to(secret)
    (machine / "doc/file").mkdir()
    (machine / "doc/file/copyright").symlink_to(secret / "copyright")
    (machine / "common/link").symlink_to(secret / "copyright")
    assert set(texts(build_corpus(LICENCES))) == {"licences/debian/base"}


def test_text_that_is_no_utf8_is_read_as_latin_1_and_says_so(machine, build_corpus, read):
    install(machine, "tool", {"{info}/LICENSE": "Müller".encode("latin-1"), "{info}/NOTICE": "Müller".encode()})
    rows = read(build_corpus(LICENCES))
    assert [(row["text"], row["metadata"].get("encoding")) for row in rows] == [("Müller", "latin-1"), ("Müller", None)]


def test_empty_licence_file_is_skipped_and_counted(machine, build_corpus):
    install(machine, "tool", {"{info}/LICENSE": b"Text.", "{info}/NOTICE": b"\n"})
    manifest = build_corpus(LICENCES)
    assert manifest.details["sources"]["licences"]["skipped"] == {"empty licence file": 1}
    assert (manifest.counts["documents"], manifest.counts["unreadable"]) == (1, 0)


def test_another_package_changes_nothing_until_a_refresh(machine, build_corpus, texts):
    install(machine, "one", {"{info}/LICENSE": b"One."})
    first = build_corpus(LICENCES)
    install(machine, "two", {"{info}/LICENSE": b"Two."})
    assert build_corpus(LICENCES).reused
    refreshed = build_corpus(LICENCES, refresh=True)
    assert not refreshed.reused
    assert set(texts(refreshed)) == {"licences/python/one/LICENSE", "licences/python/two/LICENSE"}
    assert build_corpus(LICENCES, refresh=True).reused
    assert build_corpus(LICENCES).fingerprint == refreshed.fingerprint != first.fingerprint


def test_removed_package_stays_readable_in_a_rebuild(machine, build_corpus, texts):
    install(machine, "one", {"{info}/LICENSE": b"One."})
    first = build_corpus(LICENCES)
    before = first.file("documents-00000.parquet").read_bytes()
    (machine / "site/one-1.0.dist-info/LICENSE").unlink()
    rebuilt = build_corpus(LICENCES, max_download_bytes=5)  # another config, so another build
    assert not rebuilt.reused
    assert rebuilt.file("documents-00000.parquet").read_bytes() == before


def test_frozen_list_names_every_text_with_its_hash(machine, store, build_corpus):
    install(machine, "one", {"{info}/LICENSE": b"One."})
    debian(machine, "base")
    build_corpus(LICENCES)
    (path,) = (store.root / "frozen").glob("licences-*.jsonl")
    texts, *lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert (path.parent / texts["texts"]).is_file()
    assert [line["document_id"] for line in lines] == ["licences/debian/base", "licences/python/one/LICENSE"]
    assert all(len(line["sha256"]) == 64 and line["bytes"] for line in lines)


def test_lost_or_changed_frozen_texts_are_said_and_refresh_mends_them(machine, store, build_corpus):
    install(machine, "one", {"{info}/LICENSE": b"One."})
    build_corpus(LICENCES)
    (texts,) = (store.root / "frozen").glob("*.parquet")
    for damage in (lambda: texts.write_bytes(b"x"), texts.unlink):
        damage()
        with pytest.raises(SourceError, match="run once with --refresh"):
            build_corpus(LICENCES, max_download_bytes=5)
    build_corpus(LICENCES, refresh=True)
    assert build_corpus(LICENCES, max_download_bytes=5).counts["documents"] == 1


def test_this_very_machine_has_licence_texts(build_corpus, texts):
    found = texts(build_corpus(LICENCES))
    assert any(name.startswith("licences/python/pyarrow/") for name in found)
    assert all(text.strip() for text in found.values())
