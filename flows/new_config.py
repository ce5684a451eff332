"""`minimind new`: a complete, commented YAML for a corpus of one's own; `minimind explore` makes the same."""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import jinja2
import yaml

from minimind.config import NAME_PATTERN, read_yaml, validate_config
from minimind.corpus.suffixes import SUFFIXES, SUFFIXES_IN_WORDS, suffix_of
from minimind.errors import ConfigError, UserError
from minimind.explore.yaml_text import with_overrides, with_values
from minimind.quality_presets import QUALITY_PRESETS


def write_config(name: str, origin: str, folder: Path, preset: str = "general") -> Path:
    """The path of the new file; refuses to write over one that is there."""
    path = folder / f"{name}.yaml"
    if path.exists():
        raise UserError(f"{path} is there already; choose another name, or remove it first")
    text = render(name, origin, preset)
    folder.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def yaml_of(target: str, name: str | None, overrides: Sequence[str] = ()) -> tuple[str, bool]:
    """The text of the domain's YAML that `target` is, or one made for it here, overridden; and whether it was made."""
    path = Path(target).expanduser()
    if path.suffix not in (".yaml", ".yml"):
        return with_overrides(render(name or name_of(target), target), overrides), True
    read_yaml(path)  # says what is wrong with it
    text = path.read_text(encoding="utf-8")
    return with_overrides(with_values(text, {"name": name} if name else {}), overrides), False


def name_of(target: str) -> str:
    """Such as `my-contracts` of `~/My Contracts/`."""
    parts = [part for part in re.split(r"[/\\]", target) if part.strip(".~") and not set(part) & set("*?[")]
    last = parts[-1] if parts else Path(target).expanduser().absolute().name
    stem = last.removesuffix(last[-len(suffix_of(last)) :]) if suffix_of(last) in SUFFIXES else last
    name = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")[:63].strip("-")
    if not name:
        raise UserError(f"no name can be made of {target!r}; give one with --name")
    return name


def render(name: str, origin: str, preset: str = "general") -> str:
    if preset not in QUALITY_PRESETS:
        raise UserError(f"{preset!r} is no preset of quality thresholds; these are: {', '.join(QUALITY_PRESETS)}")
    if not re.fullmatch(NAME_PATTERN, name):
        raise UserError(f"{name!r} is no name for a domain; use lower case letters, digits and dashes, as in legal-de")
    template = (Path(__file__).parent / "config_template.yaml.jinja").read_text()
    source = yaml.safe_dump([describe_source(origin)], sort_keys=False, allow_unicode=True, width=1000)
    text = jinja2.Template(template, keep_trailing_newline=True).render(
        name=name,
        description=f"A model of {' '.join(origin.split())}",
        source=_indented(source),
        preset=preset,
        thresholds=QUALITY_PRESETS[preset],
    )
    try:
        validate_config(yaml.safe_load(text), f"minimind new {name}")
    except ConfigError as error:
        raise UserError(str(error)) from None
    return text


def describe_source(origin: str) -> dict[str, object]:
    """The source section for a folder, a file, a glob, a web address, a bucket, a git repository or a dataset."""
    hub = origin.removeprefix("https://huggingface.co/datasets/").removeprefix("hf://")
    if hub != origin:
        return {
            "kind": "huggingface", "name": "hub", "dataset": hub.strip("/").removeprefix("datasets/"),
            "revision": "main", "split": "train", "text_column": "text", "max_bytes": 200_000_000,
            "sample_seed": 1,
        }  # fmt: skip
    if origin.startswith("s3://"):
        path = origin if PurePosixPath(origin).suffix else f"{origin.rstrip('/')}/**"
        return {"kind": "bucket", "name": "bucket", "paths": [path], "endpoint_url": None, "anonymous": False}
    if is_repository(origin):
        url = origin.removeprefix("git+")
        return {"kind": "git", "name": "repository", "url": url, "ref": "HEAD", "members": ["**"]}
    if urlsplit(origin).scheme in ("http", "https"):
        return {"kind": "http", "name": "web", "files": [{"url": origin}], "members": ["**"]}
    return {"kind": "local_files", "name": "local", "paths": globs_for(origin)}


def is_repository(origin: str) -> bool:
    """True for git's own addresses (ssh://, git+https://, user@host:path) and for web addresses that end in .git."""
    if origin.startswith(("ssh://", "git+")) or re.match(r"[\w.]+@[\w.-]+:", origin):
        return True
    return origin.startswith(("https://", "http://", "file://")) and origin.rstrip("/").endswith(".git")


def globs_for(origin: str) -> list[str]:
    """Globs that match what can be read below a folder; a file or a glob stands for itself."""
    path = Path(origin).expanduser()
    if not path.is_dir():
        if not path.exists() and not any(sign in origin for sign in "*?["):
            raise UserError(f"{origin!r} is no folder, file, glob or address; check the spelling")
        return [str(path)]
    names = (file.name for file in path.rglob("*") if file.is_file())
    suffixes = {name[-len(suffix_of(name)) :] for name in names if suffix_of(name) in SUFFIXES}  # as they are written
    if not suffixes:
        raise UserError(f"{origin} has nothing that can be read; {SUFFIXES_IN_WORDS} can")
    return [f"{path}/**/*{suffix}" for suffix in sorted(suffixes)]


def _indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())
