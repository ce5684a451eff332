"""Hard-wrapped lines joined into paragraphs, in documents that are hard-wrapped and nowhere else."""

import re

# What begins a line that no earlier line runs on into, and that runs on into no later one: headings and what underlines
# them, tables, quotes, field names, comments, directives, footnotes.
STRUCTURE = re.compile(r"""[#|>=~+<\\!]|:(?![\w.+:-]+:`)|\.\.(?:\s|$)|\[\^?[^\]]*\]:|[^\w\s]{3,}""")
MONTHS = "Jan|Feb|Mär|Mar|Apr|Mai|May|Jun|Jul|Aug|Sep|Okt|Oct|Nov|Dez|Dec"
# a list item: a bullet, a number that is no date, a letter that is no abbreviation such as "z. B." or "i. V. m."
MARKER = re.compile(
    rf"[-*+•‣◦▪●■·–—]\s|\(?\d{{1,3}}[a-z]?\)\s|\d{{1,3}}\.\s+(?!\d|(?:{MONTHS}))"
    r"|\(?(?:[A-Za-z]|([a-z])\1{1,3}|[ivxlc]{1,5}|[IVXLC]{1,5})\)\s|(?:[A-Za-z]|[IVXLC]{1,5})\.\s+(?![A-Za-z]{1,2}\.)"
)
GAP = re.compile(r"\S {3,}\S|[^\s.!?:;,)\]”\"'*] {2}\S|\t")  # columns; two blanks after a sentence are none
FENCES = ("```", "~~~")
ABBREVIATED = re.compile(r"\b[A-Za-z]\.$")
BEFORE_BREAK = re.compile(r"[^\W\d_][^\s()]*-$")
AFTER_BREAK = re.compile(r"[^\W_][\w-]*")
HANGING = {"und", "oder", "bzw.", "sowie", "bis", "and", "or", "to"}  # after "Vor-", the hyphen stands for a word

MIN_WIDTH, MAX_WIDTH = 50, 100  # columns
SAMPLED_LINES = 3_000
MIN_PAIRS = 5  # of lines that follow each other
MIN_FULL_SHARE = 0.75  # of them that the next line's first word would not have fitted into
MAX_LONG_SHARE = 0.02  # of them that are longer than the width: a URL
MAX_UNCUT_SHARE = 0.15  # of all lines of prose that are: paragraphs of another making


def reflowed(lines: list[str]) -> list[str]:
    """The lines, those joined that a fixed width has cut apart."""
    width = wrap_width(lines)
    if width is None:
        return lines
    joined: list[str] = []
    words: set[str] | None = None
    last, last_indent, item_indent, fenced = "", 0, -1, False
    for line in lines:
        text = line.lstrip(" ")
        indent = len(line) - len(text)
        fenced ^= text.startswith(FENCES)
        if indent != item_indent:
            item_indent = indent if last and indent > last_indent and marker_of(last.lstrip(" ")) else -1
        if indent == item_indent > 0:
            cut = is_cut(last, text, width) or is_cut(last[item_indent:], text, width)
        else:
            cut = indent == last_indent == 0 and is_cut(last, text, width)
        if not cut or fenced or not runs_on(last) or not goes_on(text, joined[-1]):
            joined.append(line)
        elif last.endswith("-"):
            words = words or words_of(lines)
            joined[-1:] = with_whole_word(joined[-1], line, words)
        else:
            joined[-1] += " " + text
        last, last_indent = line, indent
    return joined


def wrap_width(lines: list[str]) -> int | None:
    """The column at which the lines were cut, or None if they were not, or not for certain.

    Looks at prose alone: pairs of lines that begin at the margin, the second without a marker, both without structure.
    The beginning of a long text stands for all of it.
    """
    lines = lines[:SAMPLED_LINES]
    starts = [
        bool(line) and (line[0].isalnum() or (line[0] not in " \t" and not STRUCTURE.match(line))) for line in lines
    ]
    pairs = [
        (len(line), 0 if alike(line, after) else len(after.split(" ", 1)[0]))
        for line, after, starts_here, starts_next in zip(lines, lines[1:], starts, starts[1:], strict=False)
        if starts_here and starts_next and not marker_of(after)
    ]
    if len(pairs) < MIN_PAIRS:
        return None
    lengths = sorted(length for length, _ in pairs)
    width = lengths[int((1 - MAX_LONG_SHARE) * len(lengths))]
    if not MIN_WIDTH <= width <= MAX_WIDTH:
        return None
    full = sum(bool(word) and length <= width < length + 1 + word for length, word in pairs)
    prose = [len(line) for line, start in zip(lines, starts, strict=True) if start and not marker_of(line)]
    long = sum(length > width for length in prose)
    return width if full >= MIN_FULL_SHARE * len(pairs) and long <= max(1, MAX_UNCUT_SHARE * len(prose)) else None


def alike(last: str, text: str) -> bool:
    """Whether two lines begin with the same word, as the entries of a list do and lines of a paragraph hardly ever."""
    return text.split(" ", 1)[0] == last.lstrip(" ").split(" ", 1)[0]


def is_cut(last: str, text: str, width: int) -> bool:
    """Whether the line above keeps to the width and the first word of `text` would not have fitted into it."""
    room = width - len(last) - 1
    if not last or not text or not -1 <= room < len(text):
        return False
    return room < len(text.split(" ", 1)[0])


def runs_on(line: str) -> bool:
    """Whether a line is neither structure nor a row of columns; a list item is prose behind its marker."""
    text = line.lstrip(" ")
    marker = marker_of(text)
    text = text[marker.end() :].lstrip(" ") if marker else text
    return bool(text) and not marker_of(text) and not is_structure(text)


def goes_on(text: str, above: str) -> bool:
    """Whether a line that begins with `text` can be the rest of what stands above.

    What looks like a marker may be the end of "(BGBl. I S. 17)" or of "e. V.".
    """
    marker = marker_of(text)
    if marker and not (")" in marker[0] and "(" not in marker[0] and above.count("(") > above.count(")")):
        return "." in marker[0] and not marker[0][0].isdigit() and bool(ABBREVIATED.search(above))
    return not is_structure(text)


def marker_of(text: str) -> re.Match[str] | None:
    head = text[:9]
    return MARKER.match(text) if ")" in head or "." in head or head[1:2] in (" ", "\t") else None


def is_structure(text: str) -> bool:
    if not text[:1].isalnum() and STRUCTURE.match(text):
        return True
    return ("  " in text or "\t" in text) and bool(GAP.search(text))


def words_of(lines: list[str]) -> set[str]:
    return {word.strip(".,;:!?()[]\"'„“”‚‘’*_") for word in set("\n".join(lines).split())}


def with_whole_word(above: str, line: str, words: set[str]) -> list[str]:
    """Two lines joined at a hyphen; both as they are where nothing in the document says how.

    The hyphen goes if the document has the word without it elsewhere. It stays if the document has it with it, or
    before a capital letter, where no word is divided.
    """
    text = line.lstrip(" ")
    if text.split(" ", 1)[0] in HANGING:
        return [f"{above} {text}"]
    begin, end = BEFORE_BREAK.search(above[-60:]), AFTER_BREAK.match(text)
    if begin is None or end is None:
        return [above, line]
    if end[0][0].islower() and begin[0][:-1] + end[0] in words:
        return [above[:-1] + text]
    return [above + text] if end[0][0].isupper() or begin[0] + end[0] in words else [above, line]
