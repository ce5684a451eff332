"""Texts whose characters were decoded wrongly once: mojibake and left-over HTML entities. Nothing else is changed."""

import html
import re
import unicodedata

from ftfy import TextFixerConfig, fix_encoding_and_explain
from ftfy.chardata import HTML_ENTITIES, UTF8_CLUES

# ftfy would do much more: straighten quotes, unfold ligatures, fold full-width letters, end lines its own way. All of
# that is writing, not damage, and is off, as is what guesses: a plain blank taken for half of a character, a question
# mark for a lost one, a C1 character for one of Windows-1252. What is left turns a run of characters back into the
# bytes of UTF-8 that it was decoded from, which hardly any text written on purpose can stand.
MOJIBAKE_ONLY = TextFixerConfig(
    unescape_html=False,
    remove_terminal_escapes=False,
    fix_encoding=True,
    restore_byte_a0=False,
    replace_lossy_sequences=False,
    decode_inconsistent_utf8=True,
    fix_c1_controls=False,
    fix_latin_ligatures=False,
    fix_character_width=False,
    uncurl_quotes=False,
    fix_line_breaks=False,
    fix_surrogates=False,
    remove_control_chars=False,
    normalization=None,
)

# ftfy's own character classes: what the bytes of UTF-8 look like in any of eight one-byte encodings
LEAD = "".join(UTF8_CLUES[f"utf8_first_of_{length}"] for length in (2, 3, 4))
FOLLOWER = UTF8_CLUES["utf8_continuation"].replace(" ", "")
PAIR = f"[{LEAD}][{FOLLOWER}]"
TOKEN = re.compile(r"[^ \t\n]+")
BROKEN_PAIR = re.compile(PAIR)
ENTITY = re.compile(r"&(?:#[0-9]{2,7}|#[xX][0-9a-fA-F]{2,6}|[A-Za-z][A-Za-z0-9]{1,24});")
UNSEEN = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u200b\u2060\ufeff]+")
BLANK = re.compile("[\xa0\u1680\u2000-\u200a\u202f\u205f\u3000]")
LINE_END = re.compile("\r\n?|[\x0b\x85\u2028\u2029]")


def repaired(text: str) -> str:
    """`text` with mojibake and entities decoded, token by token, until nothing changes.

    A token is what stands between blanks, so that lines may be joined later without another outcome. A repair can lay
    open the next one ("fÃƒÂ¼r"), and what it lays open may be invisible, a blank or not composed; hence the loop.
    """
    while True:
        decoded = TOKEN.sub(lambda match: decoded_token(match[0]), text)
        visible = BLANK.sub(" ", UNSEEN.sub("", LINE_END.sub("\n", decoded)))
        composed = unicodedata.normalize("NFC", visible)
        if composed == text:
            return text
        text = composed


def decoded_token(token: str) -> str:
    if "&" in token and (plain := without_entities(token)) != token:
        return plain
    if BROKEN_PAIR.search(token):
        return fix_encoding_and_explain(token, MOJIBAKE_ONLY).text
    return token


def without_entities(token: str) -> str:
    """Entities decoded, but not where that would make a tag: text about HTML stays what it says."""
    plain = ENTITY.sub(character_of, token)
    marks = plain.count("<") + plain.count(">") > token.count("<") + token.count(">")
    return token if marks and re.search(r"[A-Za-z/`]", ENTITY.sub("", token)) else plain


def character_of(entity: re.Match[str]) -> str:
    name = entity[0]
    return html.unescape(name) if name[1] == "#" else HTML_ENTITIES.get(name, name)
