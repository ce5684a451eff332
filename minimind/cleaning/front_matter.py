"""What stands above a text for machines: YAML front matter, header fields, identifiers."""

import re

KEY = r"[A-Za-z_][\w.-]*(?: [\w.-]+){0,2}:(?:[ \t][^\n]*)?\n"
YAML = rf"---\n(?:{KEY})(?:{KEY}|[ \t][^\n]*\n|- [^\n]*\n|\#[^\n]*\n|\n)*(?:---|\.\.\.)(?:\n|\Z)"
AT_TOP = re.compile(rf"\n*{YAML}")
# a title of several lines that slipped out of its front matter, which begins with the rest of it
BELOW_TITLE = re.compile(rf"((?:[^\n]+\n){{1,4}})(?=---\n[Tt]itle:){YAML}")
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
    form are its content.
    """
    if text.startswith(("---", "\n")):
        text = AT_TOP.sub("", text, count=1)
    if "\n---\n" in text[:1_000]:
        text = BELOW_TITLE.sub(r"\1", text, count=1) if BELOW_TITLE.match(text) else text
    fields = FIELDS.match(text)
    if fields and all(field.search(fields[1]) for field in BIBLIOGRAPHIC):
        text = text[fields.end() :]
    return IDENTIFIERS.sub("", text) if "-" in text else text
