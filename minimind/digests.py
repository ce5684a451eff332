"""What fingerprints are made of: digests of files, of JSON, and of the code that a stage runs."""

import ast
import hashlib
import importlib.metadata
import importlib.util
import io
import json
import os
import platform
import re
import tokenize
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

LIBRARY = Path(__file__).parent
PYTHON = ".".join(platform.python_version_tuple()[:2])
# modules that shape no result of a stage by themselves
INFRASTRUCTURE = {
    "minimind", "minimind.config", "minimind.digests", "minimind.durable", "minimind.errors", "minimind.machine",
    "minimind.masking", "minimind.parts", "minimind.pruning", "minimind.store",
}  # fmt: skip


def sha256_of_file(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256_of_json(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def version_of(library: str) -> str:
    """Of a distribution; of `python` without the number of the bug fix, as its tables of Unicode and its `re` go."""
    return PYTHON if library == "python" else importlib.metadata.version(library)


@cache
def code_digests(stage: str) -> dict[str, str]:
    """Module or SQL file -> digest, for the stage's package and every `minimind` module that it imports.

    SQL files are those of the stage's own package: who imports a function of another stage runs none of its queries.

    Comments, docstrings and blank space do not count. Config, store and errors do not either: what they decide
    reaches a fingerprint as resolved values, and a reworded message must not cost a training.
    """
    modules = _modules()
    remembered = _remembered_digests()
    known = dict(remembered)
    digests: dict[str, str] = {}
    waiting = [name for name in modules if name.startswith(f"minimind.{stage}.") or name == f"minimind.{stage}"]
    while waiting:
        name = waiting.pop()
        if name in digests or name in INFRASTRUCTURE:
            continue
        source = modules[name].read_text()
        content = hashlib.sha256(source.encode()).hexdigest()
        if name not in known or known[name][0] != content:
            known[name] = (content, *_digest_and_imports(source, name))
        _, digests[name], imports = known[name]
        waiting += [imported for imported in imports if imported in modules]
    if known != remembered:
        _remember_digests(known)
    for path in sorted((LIBRARY / stage).rglob("*.sql")):
        digests[path.relative_to(LIBRARY).as_posix()] = hashlib.sha256(_sql_without_comments(path)).hexdigest()[:16]
    return dict(sorted(digests.items()))


def _digests_path() -> Path:
    """Beside the compiled modules, where Python keeps them; another one for each Python and each text of this file."""
    rules = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
    compiled = Path(importlib.util.cache_from_source(str(LIBRARY / "digests.py")))
    return compiled.with_name(f"digests-{platform.python_version()}-{rules}.json")


def _remembered_digests() -> dict[str, tuple[str, str, list[str]]]:
    """Module -> sha256 of its text, digest, imports, as an earlier process found them out: half a second's work."""
    try:
        found: dict[str, list[Any]] = json.loads(_digests_path().read_text())
        return {name: (content, digest, imports) for name, (content, digest, imports) in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _remember_digests(known: Mapping[str, tuple[str, str, list[str]]]) -> None:
    """Nothing where the folder cannot be written to."""
    path = _digests_path()
    partial = path.with_suffix(f".{os.getpid()}")
    with suppress(OSError):
        path.parent.mkdir(exist_ok=True)
        for outdated in path.parent.glob("digests-*"):
            outdated.unlink()
        partial.write_text(json.dumps(known))
        partial.replace(path)


def _modules() -> dict[str, Path]:
    names = {}
    for path in sorted(LIBRARY.rglob("*.py")):
        parts = ("minimind", *path.relative_to(LIBRARY).with_suffix("").parts)
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


@cache
def _digest_and_imports(source: str, module: str) -> tuple[str, list[str]]:
    """Of its tokens; and absolute names that it may import from `minimind`, packages on the way included."""
    docstrings: set[tuple[int, int]] = set()
    imports: set[str] = set()
    for node in _statements(ast.parse(source)):
        if isinstance(node, ast.Import):
            imports |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively; the store reads absolute imports only"
            imports |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            match node.body[0]:
                case ast.Expr(value=ast.Constant(value=str())) as docstring:
                    docstrings.add((docstring.lineno, docstring.col_offset))
    return _digest_of_tokens(source, docstrings), sorted(name for name in imports if name.startswith("minimind"))


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """The node and all statements in it; expressions, which are most of a tree, hold none."""
    yield node
    for branch in ("body", "orelse", "finalbody", "handlers", "cases"):
        children = getattr(node, branch, ())
        if isinstance(children, list):
            for child in children:
                yield from _statements(child)


def _digest_of_tokens(source: str, docstrings: set[tuple[int, int]]) -> str:
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.ENCODING}
    digest = hashlib.sha256()
    after_docstring = False
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in skipped or token.start in docstrings or (after_docstring and token.type == tokenize.NEWLINE):
            after_docstring = token.start in docstrings
            continue
        after_docstring = False
        text = token.string if token.type not in (tokenize.INDENT, tokenize.NEWLINE) else ""
        digest.update(f"{tokenize.tok_name[token.type]} {text}\n".encode())
    return digest.hexdigest()[:16]


def _sql_without_comments(path: Path) -> bytes:
    """Blank space counts only inside quotes."""
    pieces = re.findall(r"'[^']*'|--[^\n]*|\s+|[^\s'-]+|-", path.read_text())
    return " ".join(piece for piece in pieces if not (piece.isspace() or piece.startswith("--"))).encode()
