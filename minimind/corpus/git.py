"""Commits of a remote repository through the `git` program: looked up, fetched shallowly, packed into an archive.

Nothing is checked out, so no hook runs and no submodule is followed; packing applies no filter and converts nothing.
"""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

from minimind.corpus.answers import RetryableError, key_of, without_user
from minimind.corpus.git_program import GitError, environment_for, run_git
from minimind.corpus.kept import DownloadFolder
from minimind.corpus.parallel import Transfers
from minimind.corpus.progress import Progress
from minimind.corpus.retries import with_retries
from minimind.errors import SourceError
from minimind.masking import masked
from minimind.store import Store

COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
ATTEMPTED_AGAIN = re.compile(
    r"(?i)could not resolve host|couldn't connect|failed to connect|connection (?:timed out|reset|refused|closed)"
    r"|early eof|rpc failed|unexpected disconnect|operation too slow|returned error: (?:429|5\d\d)|hung up unexpectedly"
)
ONLY_WHOLE = re.compile(r"(?i)dumb http transport|unadvertised object")  # servers that give no single commit
# `git archive` converts what attributes and core.autocrlf say, as a checkout does, and leaves out what attributes say.
# These overrule them all. An encoding is made none by `!`: of `-`, git's manual says nothing.
AS_COMMITTED = b"* -export-ignore -export-subst -filter -text -ident !working-tree-encoding\n"
TREE_LINE = re.compile(rb"(\d+) \w+ [0-9a-f]+\t(.+)", re.DOTALL)


class Listed(NamedTuple):
    path: str
    kind: str  # "link" or "submodule"


class Repository:
    """A remote repository, and the bare one in the download folder that keeps what was fetched of it."""

    def __init__(self, url: str, store: Store, max_bytes: int, max_expanded_bytes: int) -> None:
        self._url = url
        self.shown = masked(url)
        self._store = store
        self._max_bytes = max_bytes
        self._max_expanded_bytes = max_expanded_bytes
        self._key = f"git-{key_of(url)}"
        self._folder = DownloadFolder(store).path / self._key

    def commit_of(self, ref: str) -> str:
        """The commit that a branch, a tag or HEAD stands for now; raises SourceError."""
        names = [ref] if ref == "HEAD" or ref.startswith("refs/") else [f"refs/heads/{ref}", f"refs/tags/{ref}"]
        asked = [*names, *(f"{name}^{{}}" for name in names)]  # ^{}: the commit of an annotated tag
        listed = self._online("ls-remote", "--", without_password(self._url), *asked)
        lines = [line.split("\t") for line in listed.decode("utf-8", "replace").splitlines() if "\t" in line]
        found = {name: commit for commit, name in lines}
        commits = {name: found.get(f"{name}^{{}}", found[name]) for name in names if name in found}
        if not commits:
            raise SourceError(f"{self.shown} has no branch or tag {ref!r}; correct ref")
        if len(set(commits.values())) > 1:
            raise SourceError(f"{self.shown} has a branch and a tag {ref!r}; write {' or '.join(commits)} as ref")
        return next(iter(commits.values()))

    def archive(self, commit: str, ref: str, path: Path) -> list[Listed]:
        """Writes the files of the commit to `path`, a .tar.gz, below one top folder; what is no file is handed back.

        Fetches the commit unless it is here already. Raises SourceError.
        """
        with self._store.lock(f"download-{self._key}"), self._trouble_said():
            if not self._has(commit):
                self._fetch(commit, ref)
            others = self._others(commit)
            attributes = [AS_COMMITTED, *map(ignored, others)]
            (self._folder / "info" / "attributes").write_bytes(b"".join(attributes))
            with path.open("wb") as output:
                arguments = ("archive", "--format=tar.gz", "-1", "--prefix=repository/", commit)
                self._run(arguments, output, "packing", self._max_expanded_bytes, "max_expanded_bytes")
        return others

    @contextmanager
    def _trouble_said(self) -> Iterator[None]:
        """Raises SourceError for what git says of the bare repository; that the disk is full, the store says."""
        try:
            yield
        except GitError as error:
            if "No space left" in str(error):
                raise
            raise SourceError(
                f"{self.shown} cannot be read from {self._folder}, where what was fetched of it is kept: git says "
                f"{str(error)!r}; remove that folder and run again: it is fetched anew"
            ) from None

    def _has(self, commit: str) -> bool:
        if not (self._folder / "HEAD").exists():
            return False
        try:
            self._run(("cat-file", "-e", f"{commit}^{{commit}}"))
        except GitError:
            return False
        return True

    def _fetch(self, commit: str, ref: str) -> None:
        if not (self._folder / "HEAD").exists():
            self._folder.parent.mkdir(parents=True, exist_ok=True)
            self._run(("init", "--quiet", "--bare", "--template=", str(self._folder)))
            (self._folder / "info").mkdir(exist_ok=True)
        self._clear_leftovers()
        options = ("--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--progress")
        url = without_password(self._url)
        try:
            self._online("fetch", *options, "--depth=1", "--", url, f"+{commit}:refs/corpus/{commit}")
        except OnlyWholeError:
            names = [ref] if ref.startswith("refs/") else ["refs/heads/*", "refs/tags/*"]
            self._online("fetch", *options, "--", url, *(f"+{name}:{whole_name(name)}" for name in names))
        if not self._has(commit):
            raise SourceError(f"{self.shown} does not have the commit {commit} (any more); run again, or correct ref")

    def _clear_leftovers(self) -> None:
        """Removes what a git that was killed has left: its locks would stop the next one."""
        for left in [*self._folder.glob("*.lock"), *self._folder.glob("refs/**/*.lock"), *self._folder.rglob("tmp_*")]:
            left.unlink()

    def _others(self, commit: str) -> list[Listed]:
        """The links and submodules of the commit."""
        found = []
        for line in self._run(("ls-tree", "-r", "-z", commit)).split(b"\0"):
            match = TREE_LINE.fullmatch(line)
            if match and match[1] in (b"120000", b"160000"):
                kind = "link" if match[1] == b"120000" else "submodule"
                found.append(Listed(os.fsdecode(match[2]), kind))
        return found

    # --- running git --------------------------------------------------------------------------------------------------

    def _online(self, *arguments: str) -> bytes:
        def once() -> bytes:
            try:
                return self._run(arguments, None, "fetching", self._max_bytes, "max_download_bytes")
            except GitError as error:
                if ONLY_WHOLE.search(str(error)):
                    raise OnlyWholeError from None
                if ATTEMPTED_AGAIN.search(str(error)):
                    raise RetryableError(str(error)) from None
                raise SourceError(
                    f"{self.shown} cannot be read: git says {str(error)!r}; check url and ref, and that you may read it"
                ) from None

        return with_retries(self.shown, once, Transfers())

    def _run(
        self,
        arguments: tuple[str, ...],
        output: BinaryIO | None = None,
        doing: str = "reading",
        max_bytes: int | None = None,
        limit: str = "",
    ) -> bytes:
        """What git writes, which may be limited; raises GitError with what it says otherwise."""
        progress = Progress(partial(self._store.report, "corpus"))
        began = bytes_below(self._folder)

        def check(written: int) -> None:
            grown = written + bytes_below(self._folder) - began
            if max_bytes is not None and grown > max_bytes:
                raise SourceError(
                    f"{self.shown} has more than {max_bytes:,} bytes, which corpus.{limit} permits; raise it if you "
                    "want this repository"
                )
            if progress.due():
                progress.report(grown, None, f"{doing} {self.shown}")

        folder = [f"--git-dir={self._folder}"] if (self._folder / "HEAD").exists() else []
        with tempfile.TemporaryFile() as collected:
            return run_git([*folder, *arguments], environment_for(self._url), output or collected, check)


class OnlyWholeError(Exception):
    """The server hands out branches with all their history, and no single commit."""


def without_password(url: str) -> str:
    """What git is given as an argument, which others on the machine can see; ssh needs its user."""
    return without_user(url) if url.startswith("http") else url


def whole_name(ref: str) -> str:
    return f"refs/corpus/{ref.removeprefix('refs/')}"


def bytes_below(folder: Path) -> int:
    """Of the files that are there; git may remove some meanwhile."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += os.stat(os.path.join(parent, name)).st_size
    return total


def ignored(listed: Listed) -> bytes:
    """The line of an attributes file that keeps the path out of an archive."""
    pattern = re.sub(r"([\\*?\[])", r"\\\1", f"/{listed.path}")
    quoted = re.sub(r'(["\\])', r"\\\1", pattern).replace("\n", "\\n")
    return os.fsencode(f'"{quoted}" export-ignore\n')
