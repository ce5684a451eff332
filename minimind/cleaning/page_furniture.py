"""What a page carries besides its text: page numbers, running headers and footers. Precision goes before recall."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise

PAGE_WORD = "[Pp]age|PAGE|Seite|SEITE"
# "Page 3 of 12", "- Seite 3 von 12 -": what else it could be is not seen
PAGE_OF_PAGES = re.compile(rf"\W*(?:{PAGE_WORD})\s+\d{{1,4}}\s+(?:of|OF|von|/)\s+\d{{1,4}}\W*")
# "Page 3", "- 3 -", "3": a page number only as part of a series
PAGE_NUMBER = re.compile(rf"(?:(?:{PAGE_WORD})\s+)?[-–—]?\s*(\d{{1,4}})\s*[-–—]?")

MIN_PAGES = 3
MIN_SERIES_SHARE = 0.5  # of the lone numbers of a text: where most count nothing, a series is chance
PAGE_CHARS = (300, 12_000)  # from one page break to the next
MIN_HEADER_CHARS = 4
MIN_HEADER_SHARE = 0.5  # of page breaks that a running header stands at
MIN_AT_BREAKS_SHARE = 0.8  # of a running header's places that are page breaks


def without_page_furniture(lines: list[str]) -> list[str]:
    """The lines but for page numbers, and headers and footers that recur beside them."""
    stripped = [line.strip() for line in lines]
    numbers = page_numbers(stripped)
    if not numbers:
        return lines
    dropped = numbers | running_lines(stripped, sorted(numbers))
    return [line for place, line in enumerate(lines) if place not in dropped]


def page_numbers(stripped: Sequence[str]) -> set[int]:
    """Places of the lines that hold nothing but a page number."""
    certain = set()
    single: list[tuple[int, int, int]] = []  # place, offset in characters, number
    offset = 0
    for place, line in enumerate(stripped):
        if line and len(line) <= 40 and (line[-1].isdigit() or line[0] in "-–—" or line[0] in "PpS"):
            if PAGE_OF_PAGES.fullmatch(line):
                certain.add(place)
            elif (match := PAGE_NUMBER.fullmatch(line)) and stands_alone(stripped, place):
                single.append((place, offset, int(match[1])))
        offset += len(line) + 1
    return certain | longest_series(single)


def stands_alone(stripped: Sequence[str], place: int) -> bool:
    """Whether nothing stands right above and below the line."""
    return not (place and stripped[place - 1]) and not (place + 1 < len(stripped) and stripped[place + 1])


def longest_series(single: Sequence[tuple[int, int, int]]) -> set[int]:
    """Places of the longest run of numbers that count up by one or two, a page apart; empty below MIN_PAGES."""
    best: dict[int, tuple[int, int | None]] = {}  # index -> length of the series that ends there, index before it
    by_number: dict[int, list[int]] = defaultdict(list)
    for index, (_, offset, number) in enumerate(single):
        before = [
            candidate
            for step in (1, 2)
            for candidate in by_number[number - step][-3:]
            if PAGE_CHARS[0] <= offset - single[candidate][1] <= PAGE_CHARS[1] * step
        ]
        chosen = max(before, key=lambda candidate: best[candidate][0], default=None)
        best[index] = (1 if chosen is None else best[chosen][0] + 1, chosen)
        by_number[number].append(index)
    last = max(best, key=lambda index: best[index][0], default=None)
    if last is None or best[last][0] < max(MIN_PAGES, MIN_SERIES_SHARE * len(single)):
        return set()
    found: set[int] = set()
    step: int | None = last
    while step is not None:
        found.add(single[step][0])
        step = best[step][1]
    return found


def running_lines(stripped: Sequence[str], breaks: Sequence[int]) -> set[int]:
    """Places of headers and footers: lines that stand at most page breaks and hardly anywhere else."""
    if len(breaks) < MIN_PAGES:
        return set()
    beside = {place for page in breaks for place in neighbours(stripped, page)} - set(breaks)
    at_breaks = Counter(shape(stripped[place]) for place in beside)
    everywhere = Counter(map(shape, stripped))
    headers = {
        line
        for line, count in at_breaks.items()
        if len(line) >= MIN_HEADER_CHARS
        and count >= max(MIN_PAGES, MIN_HEADER_SHARE * len(breaks))
        and count >= MIN_AT_BREAKS_SHARE * everywhere[line]
    }
    return {place for place, line in enumerate(stripped) if line and shape(line) in headers}


def neighbours(stripped: Sequence[str], page: int) -> list[int]:
    """The two lines above and below a page number that are not empty."""
    above = [place for place in range(page - 1, max(page - 12, -1), -1) if stripped[place]][:2]
    below = [place for place in range(page + 1, min(page + 12, len(stripped))) if stripped[place]][:2]
    return above + below


def shape(line: str) -> str:
    """The line with its numbers alike, as headers carry page numbers and dates."""
    return re.sub(r"\d+", "0", line)


# --- form feeds -------------------------------------------------------------------------------------------------------


def without_form_feeds(text: str, drop_furniture: bool) -> str:
    """The text with pages put one below the other, but for page numbers and lines that recur at the pages' edges."""
    pages = [page.split("\n") for page in text.split("\f")]
    if drop_furniture and len(pages) >= MIN_PAGES:
        for _ in range(2):  # a page number, and a header or footer beyond it
            pages = [page[::-1] for page in without_first_lines([page[::-1] for page in without_first_lines(pages)])]
    return "\n".join("\n".join(page) for page in pages)


def without_first_lines(pages: list[list[str]]) -> list[list[str]]:
    """The pages but for a first line that is a page number, or that at least half of all pages begin with alike."""
    begins = [next((place for place, line in enumerate(page) if line.strip()), None) for page in pages]
    firsts = ["" if begin is None else page[begin].strip() for page, begin in zip(pages, begins, strict=True)]
    counts = Counter(shape(line) for line in firsts if line)
    usual = {line for line, count in counts.items() if count >= max(MIN_PAGES, MIN_HEADER_SHARE * len(pages))}
    numbers = [int(match[1]) for line in firsts if (match := PAGE_NUMBER.fullmatch(line))]
    counting = sum(0 < after - before <= 2 for before, after in pairwise(numbers)) >= MIN_PAGES - 1
    dropped = [
        bool(PAGE_OF_PAGES.fullmatch(line)) or (counting if PAGE_NUMBER.fullmatch(line) else shape(line) in usual)
        for line in firsts
    ]
    return [
        page[begin + 1 :] if drop and begin is not None else page
        for page, begin, drop in zip(pages, begins, dropped, strict=True)
    ]
