"""What distinguishes two texts, in pieces short enough to be read; bounded, however long the texts are."""

import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from itertools import groupby
from typing import Literal, NamedTuple

WINDOW_CHARS = 8_000  # of each text that are compared, from shortly before the first difference
CONTEXT_CHARS = 80  # of what is alike, on either side of a difference

Kind = Literal["same", "removed", "added", "skipped"]
Opcode = tuple[bool, int, int, int, int]  # alike, and the two ranges, as difflib has them


class Piece(NamedTuple):
    kind: Kind
    text: str  # empty for what is skipped


def difference(before: str, after: str, max_chars: int = 1_500) -> list[Piece]:
    """Pieces that lead from one text to the other, about `max_chars` of them; empty for equal texts.

    What is alike is shortened to what stands next to a difference. A skipped piece stands for any amount of text; one
    at the end may hold further differences.
    """
    if before == after:
        return []
    start = max(0, common_prefix(before, after) - CONTEXT_CHARS)
    old, new = before[start : start + WINDOW_CHARS], after[start : start + WINDOW_CHARS]
    whole = start + WINDOW_CHARS >= max(len(before), len(after))
    pieces = _joined(_pieces(_tokens(old), _tokens(new)))
    while not whole and len(pieces) > 1 and pieces[-1].kind != "same":
        pieces.pop()  # the window ends elsewhere in either text; that is no difference
    shortened = list(_shortened(pieces, begins=start == 0, ends=whole))
    return _bounded(shortened, max_chars)


def common_prefix(one: str, other: str) -> int:
    """How many characters are alike at the beginning of both; by halving, because texts may be very long."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[low:middle] == other[low:middle] else (low, middle - 1)
    return low


def _tokens(text: str) -> list[tuple[str, str]]:
    """(word or single sign, blank space after it), which together are the text; the first may be blank space alone."""
    blank = re.match(r"\s*", text)
    begin = [("", blank[0])] if blank and blank[0] else []
    return begin + re.findall(r"(\w+|[^\w\s])(\s*)", text)


def _pieces(old: Sequence[tuple[str, str]], new: Sequence[tuple[str, str]]) -> Iterator[Piece]:
    """Words are compared first, then the blank space after those that are alike."""
    words = [word for word, _ in old], [word for word, _ in new]
    for alike, i, i_end, j, j_end in _without_chance_hits(_opcodes(*words), *words):
        if alike:
            yield from _blanks_compared(old[i:i_end], new[j:j_end])
        else:
            yield from _change("".join(map("".join, old[i:i_end])), "".join(map("".join, new[j:j_end])))


def _joined(pieces: Iterator[Piece]) -> list[Piece]:
    """Neighbours of one kind as one piece."""
    return [
        Piece(kind, "".join(piece.text for piece in run)) for kind, run in groupby(pieces, key=lambda one: one.kind)
    ]


def _opcodes(old: Sequence[str], new: Sequence[str]) -> list[Opcode]:
    matcher = SequenceMatcher(None, old, new)
    return [(kind == "equal", i, i_end, j, j_end) for kind, i, i_end, j, j_end in matcher.get_opcodes()]


def _without_chance_hits(opcodes: Sequence[Opcode], old: Sequence[str], new: Sequence[str]) -> list[Opcode]:
    """The opcodes with what is alike by chance, a sign between two longer changes, made part of one change."""
    joined: list[Opcode] = []
    for place, opcode in enumerate(opcodes):
        alike, i, i_end, j, j_end = opcode
        if joined and alike and place + 1 < len(opcodes):
            around = min(_chars(joined[-1], old, new), _chars(opcodes[place + 1], old, new))
            alike = sum(map(len, old[i:i_end])) > around
        if joined and not alike and not joined[-1][0]:
            joined[-1] = (False, joined[-1][1], i_end, joined[-1][3], j_end)
        else:
            joined.append((alike, i, i_end, j, j_end))
    return joined


def _chars(opcode: Opcode, old: Sequence[str], new: Sequence[str]) -> int:
    _, i, i_end, j, j_end = opcode
    return max(sum(map(len, old[i:i_end])), sum(map(len, new[j:j_end])))


def _blanks_compared(old: Sequence[tuple[str, str]], new: Sequence[tuple[str, str]]) -> Iterator[Piece]:
    same = ""
    for (word, blank), (_, other) in zip(old, new, strict=True):
        same += word
        if blank == other:
            same += blank
        else:
            yield Piece("same", same)
            yield from _change(blank, other)
            same = ""
    if same:
        yield Piece("same", same)


def _change(old: str, new: str) -> Iterator[Piece]:
    """What is removed and what is added; blank space that both end in stays."""
    alike = 0
    while alike < min(len(old), len(new)) and old[-1 - alike] == new[-1 - alike] and old[-1 - alike].isspace():
        alike += 1
    if removed := old[: len(old) - alike]:
        yield Piece("removed", removed)
    if added := new[: len(new) - alike]:
        yield Piece("added", added)
    if alike:
        yield Piece("same", old[-alike:])


def _shortened(pieces: Sequence[Piece], begins: bool, ends: bool) -> Iterator[Piece]:
    """The pieces with long stretches of what is alike cut down; `begins`, `ends`: where the texts themselves do."""
    if not begins:
        yield Piece("skipped", "")
    for place, piece in enumerate(pieces):
        first, last = place == 0, place == len(pieces) - 1
        kept = CONTEXT_CHARS * (1 if first or last else 2)
        if piece.kind != "same" or len(piece.text) <= kept + CONTEXT_CHARS // 2:
            yield piece
        elif first:
            yield Piece("skipped", "")
            yield Piece("same", _last_words(piece.text))
        else:
            yield Piece("same", _first_words(piece.text))
            if not last:
                yield Piece("skipped", "")
                yield Piece("same", _last_words(piece.text))
            elif ends:
                yield Piece("skipped", "")
    if not ends:
        yield Piece("skipped", "")


def _first_words(text: str) -> str:
    return re.sub(r"\S{1,20}\Z", "", text[:CONTEXT_CHARS])


def _last_words(text: str) -> str:
    return re.sub(r"\A\S{1,20}", "", text[-CONTEXT_CHARS:])


def _bounded(pieces: Sequence[Piece], max_chars: int) -> list[Piece]:
    """The first pieces up to `max_chars`, the longest of them cut."""
    kept: list[Piece] = []
    left = max_chars
    for piece in pieces:
        longest = max_chars // 3 if piece.kind in ("removed", "added") else max_chars
        text = piece.text[: max(0, min(left, longest))]
        if text:
            kept.append(Piece(piece.kind, text))
        if len(text) < len(piece.text) or piece.kind == "skipped":
            kept.append(Piece("skipped", ""))
        left -= len(text)
    skipped = Piece("skipped", "")
    return [piece for place, piece in enumerate(kept) if piece != skipped or place == 0 or kept[place - 1] != skipped]
