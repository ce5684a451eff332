"""What stands above a text for machines: YAML front matter, header fields, identifiers."""

import re

KEY = r"[A-Za-z_][\w.-]*(?: [\w.-]+){0,2}:(?:[ \t][^\n]*)?\n"
YAML = rf"---\n(?:{KEY})(?:{KEY}|[ \t][^\n]*\n|- [^\n]*\n|\#[^\n]*\n|\n)*(?:---|\.\.\.)(?:\n|\Z)"
AT_TOP = re.compile(rf"\n*{YAML}")
# a title of several lines that slipped out of its front matter, which begins with the rest of it
TITLED = re.compile(rf"(?=---\n[Tt]itle:){YAML}")
BELOW_TITLE = re.compile(rf"((?:(?!---\n)[^\n]+\n){{1,4}}){TITLED.pattern}")
FIELDS = re.compile(r"\n*((?:[A-Z][A-Za-z-]{1,30}:[^\n]*\n(?:[ \t][^\n]*\n)*){4,})(?=\n|\Z)")
BIBLIOGRAPHIC = (
    re.compile(r"^Title:", re.M),
    re.compile(r"^Author", re.M),
    re.compile(r"^(?:Status|Created|Date):", re.M),
)
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
IDENTIFIERS = re.compile(rf"^(?:m\d{{5}}\n)?{UUID}(?:\n|\Z)", re.M)


def without_front_matter(text: str) -> str:
    """The text without front matter at its top, and without lines that are nothing but an identifier.

    A block of header fields goes only if it says title, author and status or date: the fields of a letter or of a
    form are its content. However many blocks stand on each other, the text is copied once.
    """
    end = 0
    while block := AT_TOP.match(text, end) or bibliographic_fields(text, end):
        end = block.end()
    text = text[end:]
    if "\n---\n" in text[:1_000] and (below := BELOW_TITLE.match(text)):
        end = below.end()
        while block := TITLED.match(text, end):
            end = block.end()
        text = below[1] + text[end:]
    return IDENTIFIERS.sub("", text) if "-" in text else text


def bibliographic_fields(text: str, place: int) -> re.Match[str] | None:
    fields = FIELDS.match(text, place)
    return fields if fields and all(field.search(fields[1]) for field in BIBLIOGRAPHIC) else None
