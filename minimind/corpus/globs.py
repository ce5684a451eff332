"""Globs over paths on disk and over the members of an archive, with one meaning: `*` stops at `/`, `**` does not,
and neither takes up names that begin with a dot."""

import re
from collections.abc import Sequence


class MemberGlobs:
    """The patterns over the paths inside archives, and which of them have matched so far."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._regexes = [(pattern, re.compile(glob_regex(pattern))) for pattern in patterns]
        self._unmatched = set(patterns)
        self._asked = False

    def match(self, path: str) -> list[str]:
        """The patterns that match."""
        self._asked = True
        matching = [pattern for pattern, regex in self._regexes if regex.fullmatch(path)]
        self._unmatched.difference_update(matching)
        return matching

    @property
    def unmatched(self) -> list[str]:
        """The patterns that match none of the paths; none of them if there was no path, as in a damaged archive."""
        return sorted(self._unmatched) if self._asked else []


def glob_regex(pattern: str) -> str:
    """The regular expression of a glob over `/`-separated paths."""
    *folders, name = [segment for segment in pattern.split("/") if segment not in ("", ".")] or ["**"]
    parts = [r"(?:(?!\.)[^/]+/)*" if folder == "**" else segment_regex(folder) + "/" for folder in folders]
    parts.append(r"(?:(?!\.)[^/]+/)*(?!\.)[^/]+" if name == "**" else segment_regex(name))
    return "".join(parts)


def segment_regex(segment: str) -> str:
    regex = "" if segment.startswith(".") else r"(?!\.)"
    position = 0
    while position < len(segment):
        bracket = re.compile(r"\[(!?)(\]?[^\]]*)\]").match(segment, position)
        if segment[position] == "*":
            regex += "[^/]*"
        elif segment[position] == "?":
            regex += "[^/]"
        elif bracket:
            members = re.sub(r"([\\\[\]^&~|])", r"\\\1", bracket[2])
            regex += f"(?!/)[{'^' if bracket[1] else ''}{members}]"
            position = bracket.end()
            continue
        else:
            regex += re.escape(segment[position])
        position += 1
    return regex


def has_wildcard(text: str) -> bool:
    return any(character in text for character in "*?[")


def fixed_part(pattern: str) -> str:
    """The folder up to the first wildcard; of a plain path, the folder it lies in. Empty: the current folder."""
    *folders, _ = pattern.split("/")
    for position, folder in enumerate(folders):
        if has_wildcard(folder):
            folders = folders[:position]
            break
    return "/".join(folders) or ("/" if pattern.startswith("/") else "")


def names_suffix(pattern: str, suffix: str) -> bool:
    """True if the pattern asks for this very suffix (`*.docx`, `a.docx`), not merely permits it (`**`, `*`)."""
    return (bool(suffix) and pattern.lower().endswith(suffix)) or not has_wildcard(pattern)
