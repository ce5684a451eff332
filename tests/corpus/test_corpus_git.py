"""The git source against real repositories: on this disk, and behind an HTTP server on this machine."""

import base64
import json
import logging
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from minimind.config import GitSource
from minimind.errors import SourceError


def git(folder: Path, *arguments: str) -> str:
    identity = {
        "GIT_AUTHOR_NAME": "A",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "A",
        "GIT_COMMITTER_EMAIL": "a@b",
    }
    environment = os.environ | identity | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    done = subprocess.run(
        ["git", "-C", folder, *arguments], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def laws(tmp_path: Path) -> Path:
    """A repository whose branch `main` has one commit with three files, tagged v1."""
    folder = tmp_path / "laws"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    (folder / "a").mkdir()
    (folder / "a" / "index.md").write_text("# A law\n")
    (folder / "README.md").write_text("Read me.")
    (folder / "lines.jsonl").write_text(json.dumps({"id": "j", "text": "Line."}) + "\n")
    commit(folder)
    git(folder, "tag", "-a", "v1", "-m", "first")
    return folder


def commit(folder: Path) -> str:
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "change")
    return git(folder, "rev-parse", "HEAD")


def git_source(folder: Path | str, **settings: Any) -> dict[str, Any]:
    url = f"file://{folder}" if isinstance(folder, Path) else folder
    return {"kind": "git", "name": "laws", "url": url, "ref": "main"} | settings


def test_files_of_a_commit_become_documents_with_their_place(laws, build_corpus, read):
    manifest = build_corpus(git_source(laws, license="CC0-1.0"))
    head = git(laws, "rev-parse", "HEAD")
    assert [(row["document_id"], row["text"], row["license"]) for row in read(manifest)] == [
        ("laws/README.md", "Read me.", "CC0-1.0"),
        ("laws/a/index.md", "# A law\n", "CC0-1.0"),
        ("laws/j", "Line.", "CC0-1.0"),
    ]
    assert read(manifest)[1]["metadata"] == {"origin": f"file://{laws}@{head}:a/index.md", "path": "a/index.md"}
    assert manifest.inputs == {f"laws: file://{laws}": f"commit {head}"}
    (line,) = map(json.loads, manifest.file("files.jsonl").read_text().splitlines())
    assert (line["path"], line["commit"], line["documents"]) == (f"file://{laws}@{head}", head, 3)


def test_repository_of_one_folder_keeps_that_folder_in_its_ids(laws, build_corpus, texts):
    git(laws, "rm", "-q", "README.md", "lines.jsonl")
    commit(laws)
    assert list(texts(build_corpus(git_source(laws)))) == ["laws/a/index.md"]


def test_unchanged_repository_is_reused_and_a_new_commit_is_read(laws, build_corpus, texts):
    build_corpus(git_source(laws))
    assert build_corpus(git_source(laws)).reused
    (laws / "README.md").write_text("Read me again.")
    commit(laws)
    assert texts(build_corpus(git_source(laws)))["laws/README.md"] == "Read me again."


def test_only_what_a_new_commit_brings_is_fetched(laws, store, build_corpus):
    (laws / "big.txt").write_text(os.urandom(400_000).hex())
    commit(laws)
    build_corpus(git_source(laws))
    packs = set(store.root.rglob("*.pack"))
    assert sum(pack.stat().st_size for pack in packs) > 400_000
    (laws / "small.txt").write_text("Small.")
    commit(laws)
    build_corpus(git_source(laws))
    (new,) = set(store.root.rglob("*.pack")) - packs
    assert new.stat().st_size < 2_000


def test_history_is_not_fetched(laws, store, build_corpus):
    (laws / "big.txt").write_text(os.urandom(400_000).hex())
    commit(laws)
    git(laws, "rm", "-q", "big.txt")
    commit(laws)
    build_corpus(git_source(laws))
    assert sum(pack.stat().st_size for pack in store.root.rglob("*.pack")) < 5_000


@pytest.mark.parametrize("ref", ["v1", "refs/tags/v1", "HEAD", "refs/heads/main"])
def test_tags_and_full_names_stand_for_their_commit(laws, build_corpus, ref):
    (probe,) = build_corpus(git_source(laws, ref=ref)).inputs.values()
    assert probe == f"commit {git(laws, 'rev-parse', 'HEAD')}"


def test_commit_is_fetched_though_the_branch_has_moved_and_asked_for_never_again(laws, build_corpus, texts):
    first = git(laws, "rev-parse", "HEAD")
    (laws / "README.md").write_text("Read me again.")
    commit(laws)
    assert texts(build_corpus(git_source(laws, ref=first)))["laws/README.md"] == "Read me."
    laws.rename(laws.with_name("gone"))
    assert build_corpus(git_source(laws, ref=first)).reused
    assert not build_corpus(git_source(laws, ref=first, license="CC0-1.0")).reused


def test_members_choose_files_and_ones_that_match_nothing_are_said(laws, build_corpus, texts):
    assert list(texts(build_corpus(git_source(laws, members=["*/index.md"])))) == ["laws/a/index.md"]
    with pytest.raises(SourceError, match=r"source laws: nothing in the repository matches \*\.rst; correct members"):
        build_corpus(git_source(laws, members=["**", "*.rst"]))


def test_links_submodules_and_pointers_are_counted_and_no_documents(laws, build_corpus, texts):
    (laws / "out.md").symlink_to("/etc/passwd")
    (laws / 'odd"[1]*.md').symlink_to("../..")
    (laws / "odd1.md").write_text("Odd.")
    for name in ("large.txt", "large.pdf", "large.csv", "large.html"):
        (laws / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n")
    git(laws, "update-index", "--add", "--cacheinfo", f"160000,{git(laws, 'rev-parse', 'HEAD')},part")
    git(laws, "commit", "-q", "-m", "submodule")
    commit(laws)
    git(laws, "update-index", "--add", "--cacheinfo", f"160000,{git(laws, 'rev-parse', 'HEAD')},part")
    git(laws, "commit", "-q", "-m", "submodule")
    manifest = build_corpus(git_source(laws))
    assert set(texts(manifest)) == {"laws/README.md", "laws/a/index.md", "laws/j", "laws/odd1.md"}
    assert manifest.details["sources"]["laws"]["skipped"] == {
        "link inside a repository": 2, "pointer to a file in Git LFS": 4, "submodule inside a repository": 1,
    }  # fmt: skip


def test_files_are_read_as_committed_whatever_attributes_and_settings_say(
    laws, tmp_path, build_corpus, read, monkeypatch
):
    (laws / ".gitattributes").write_text(
        "a export-ignore\nREADME.md export-subst ident filter=evil\n"
        "lines.txt eol=crlf\nwide.txt working-tree-encoding=UTF-16\n"
    )
    (laws / "README.md").write_text("$Format:%H$ $Id$")
    (laws / "lines.txt").write_text("One.\nTwo.\n")
    (laws / "wide.txt").write_bytes("Wide.".encode("utf-16"))  # committed as UTF-8
    commit(laws)
    settings = tmp_path / "config"
    settings.write_text(
        "[core]\n\tautocrlf = true\n"
        f'[filter "evil"]\n\tsmudge = "touch {tmp_path}/ran; echo other"\n\trequired = true\n'
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    rows = {row["document_id"]: row for row in read(build_corpus(git_source(laws)))}
    assert {name: row["text"] for name, row in rows.items()} == {
        "laws/README.md": "$Format:%H$ $Id$",
        "laws/a/index.md": "# A law\n",
        "laws/j": "Line.",
        "laws/lines.txt": "One.\nTwo.\n",
        "laws/wide.txt": "Wide.",
    }
    assert "encoding" not in rows["laws/wide.txt"]["metadata"]
    assert not (tmp_path / "ran").exists()
    git(laws, "-c", f"include.path={settings}", "archive", "-o", f"{tmp_path}/laws.tar", "HEAD")
    assert (tmp_path / "ran").exists(), "the filter does run where nothing keeps it from it"


def test_hooks_of_the_machine_do_not_run(laws, tmp_path, build_corpus, monkeypatch):
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    for name in ("reference-transaction", "post-checkout", "post-merge"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
        (hooks / name).chmod(0o755)
    (tmp_path / "config").write_text(f"[core]\n\thooksPath = {hooks}\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "config"))
    build_corpus(git_source(laws))
    assert not (tmp_path / "ran").exists()
    git(laws, "-c", f"core.hooksPath={hooks}", "branch", "other")
    assert (tmp_path / "ran").exists(), "the hook does run where nothing keeps it from it"


def test_git_variables_of_the_caller_lead_nowhere_else(laws, tmp_path, build_corpus, texts, monkeypatch):
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(tmp_path / "objects"))
    assert len(texts(build_corpus(git_source(laws)))) == 3


# --- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["ext::sh -c touch% /tmp/x", "--upload-pack=touch", "git://host/x", "/tmp/laws", "file://host/x", "ssh://-oProxyCommand=x/y",
     "http://", "a b@host:x", "user@-oProxyCommand:x"],
)  # fmt: skip
def test_other_transports_and_options_are_no_url(url):
    with pytest.raises(ValidationError):
        GitSource.model_validate(git_source(url))


@pytest.mark.parametrize("ref", ["--upload-pack=x", "", "a:b", "a b", "^main", "main~1", "a*"])
def test_what_is_no_ref_is_refused(ref):
    with pytest.raises(ValidationError):
        GitSource.model_validate(git_source("https://host/x.git", ref=ref))


def test_ref_that_is_not_there_is_said(laws, build_corpus):
    with pytest.raises(SourceError, match=rf"file://{laws} has no branch or tag 'next'; correct ref"):
        build_corpus(git_source(laws, ref="next"))


def test_ref_that_means_two_things_is_refused(laws, build_corpus):
    git(laws, "branch", "v1")
    build_corpus(git_source(laws, ref="v1"))
    (laws / "README.md").write_text("Read me again.")
    commit(laws)
    git(laws, "tag", "-f", "v1")
    with pytest.raises(SourceError, match="a branch and a tag 'v1'; write refs/heads/v1 or refs/tags/v1 as ref"):
        build_corpus(git_source(laws, ref="v1"))


def test_repository_that_is_not_there_is_said(tmp_path, build_corpus):
    with pytest.raises(SourceError, match=r"git says .*does not appear to be a git repository.*; check url and ref"):
        build_corpus(git_source(tmp_path / "nothing"))


def test_commit_that_is_not_there_is_said(laws, build_corpus):
    with pytest.raises(SourceError, match=r"git says .*not our ref 0{40}"):
        build_corpus(git_source(laws, ref="0" * 40))


def test_repository_over_the_size_limit_is_refused(laws, store, build_corpus):
    (laws / "big.txt").write_text(os.urandom(400_000).hex())
    commit(laws)
    with pytest.raises(SourceError, match=r"has more than 100,000 bytes, which corpus.max_download_bytes permits"):
        build_corpus(git_source(laws), max_download_bytes=100_000)


def test_what_a_killed_git_has_left_stops_no_later_one(laws, store, build_corpus, texts):
    build_corpus(git_source(laws))
    (bare,) = (store.root / "downloads").glob("git-*")
    (bare / "shallow.lock").touch()
    (bare / "objects" / "pack" / "tmp_pack_abc").write_bytes(b"x" * 1000)
    (laws / "README.md").write_text("Read me again.")
    commit(laws)
    assert texts(build_corpus(git_source(laws)))["laws/README.md"] == "Read me again."
    assert not list(bare.rglob("tmp_*"))


def test_small_repository_that_expands_beyond_the_limit_is_refused(laws, store, build_corpus):
    (laws / "zeros.txt").write_text("0" * 5_000_000)
    commit(laws)
    with pytest.raises(SourceError, match=r"more than 1,000,000 bytes, which corpus.max_expanded_bytes permits"):
        build_corpus(git_source(laws), max_expanded_bytes=1_000_000)
    assert not list((store.root / "downloads").glob(".git-*"))


def test_machine_without_git_is_said(laws, build_corpus, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SourceError, match="the program git is not installed"):
        build_corpus(git_source(laws))


def put_before_git(folder: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    """Has a line of shell run before every git that is started."""
    program = folder / "bin" / "git"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\n{line}\nexec {shutil.which("git")} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


@pytest.mark.parametrize("step", ["init", "ls-tree", "archive"])
def test_git_that_fails_at_what_was_fetched_is_said(laws, tmp_path, store, build_corpus, monkeypatch, step):
    fails = f'case " $* " in *" {step} "*) echo "fatal: unable to read tree" >&2; exit 128;; esac'
    put_before_git(tmp_path, monkeypatch, fails)
    with pytest.raises(
        SourceError, match=r"laws cannot be read .*says 'fatal: unable to read tree'; remove that folder"
    ):
        build_corpus(git_source(laws))
    assert store.manifests("corpus") == []


def test_server_that_never_answers_is_left(build_corpus, monkeypatch):
    monkeypatch.setattr("minimind.corpus.git_program.STALLED_SECONDS", 0.5)
    monkeypatch.setattr("minimind.corpus.retries.RETRY_DELAYS", (0.0,))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/laws.git"
        with pytest.raises(SourceError, match=r"nothing for 0\.5 s: connection timed out \(2 tries\)"):
            build_corpus(git_source(url))


# --- by HTTP ----------------------------------------------------------------------------------------------------------


Serve = Callable[..., tuple[str, list[str | None]]]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """(folder) -> (its URL, the Authorization of each request): a plain web server, the dumb transport of git."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setattr("minimind.corpus.retries.RETRY_DELAYS", (0.0,))
    started = []

    def start(folder: Path, login: str | None = None) -> tuple[str, list[str | None]]:
        seen: list[str | None] = []

        class Handler(SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                seen.append(self.headers.get("Authorization"))
                if login and seen[-1] != f"Basic {base64.b64encode(login.encode()).decode()}":
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", "Basic")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                else:
                    super().do_GET()

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        started.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}", seen

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


@pytest.fixture
def published(laws: Path, tmp_path: Path) -> Path:
    bare = tmp_path / "web" / "laws.git"
    git(tmp_path, "clone", "-q", "--bare", str(laws), str(bare))
    git(bare, "update-server-info")
    return bare.parent


def test_repository_on_a_plain_web_server_is_read(published, serve, build_corpus, texts):
    url, _ = serve(published)
    assert len(texts(build_corpus(git_source(f"{url}/laws.git")))) == 3
    assert build_corpus(git_source(f"{url}/laws.git")).reused


def test_password_reaches_the_server_and_nothing_else(published, serve, store, build_corpus, caplog):
    caplog.set_level(logging.DEBUG)
    url, seen = serve(published, login="reader:geheim")
    with_login = url.replace("http://", "http://reader:geheim@")
    build_corpus(git_source(f"{with_login}/laws.git"))
    assert None not in seen
    with pytest.raises(SourceError) as error:
        build_corpus(git_source(f"{with_login}/gone.git"))
    said = caplog.text + str(error.value)
    for path in store.root.rglob("*"):
        said += path.read_bytes().decode("latin-1") if path.is_file() else path.name
    assert "geheim" not in said
    assert "***@127.0.0.1" in said


def test_password_is_not_among_the_arguments_of_git(published, serve, tmp_path, build_corpus, monkeypatch):
    url, _ = serve(published, login="reader:geheim")
    put_before_git(tmp_path, monkeypatch, f'echo "$@" >> {tmp_path}/arguments')
    build_corpus(git_source(f"{url.replace('http://', 'http://reader:geheim@')}/laws.git"))
    assert "ls-remote" in (tmp_path / "arguments").read_text()
    assert "geheim" not in (tmp_path / "arguments").read_text()


def test_missing_password_is_said_and_not_asked_for(published, serve, build_corpus):
    url, _ = serve(published, login="reader:geheim")
    with pytest.raises(SourceError, match=r"could not read Username|Authentication failed"):
        build_corpus(git_source(f"{url}/laws.git"))
