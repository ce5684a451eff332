"""Text of unknown origin made safe to look at: nothing in it can steer a terminal or turn a page around."""

import re

# C0 and C1 controls but tab and line feed; zero-width signs; marks, embeddings and isolates that reorder text;
# line and paragraph separators; the invisible letters of the tag block; halves of characters
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)

BLANKS = {"\n": "↵\n", "\t": "⇥", "\u00a0": "⍽", " ": "·"}


def visible(text: str) -> str:
    """The text with every character that is not seen but acts replaced by its number, such as `‹202E›`."""
    return _UNSEEN.sub(lambda match: f"‹{ord(match[0]):02X}›", text)


def on_one_line(text: str, max_chars: int) -> str:
    """The visible text on one line, cut to `max_chars` with an ellipsis."""
    line = " ".join(visible(text[: 4 * max_chars]).split())
    return line if len(line) <= max_chars and len(text) <= 4 * max_chars else line[: max_chars - 1].rstrip() + "…"


def visible_change(text: str) -> str:
    """Like `visible`, with signs for blank space too: it is what a change may consist of."""
    if text.strip():
        shown = text.replace("\n", "↵\n")
    else:
        shown = "".join(BLANKS.get(sign) or f"‹{ord(sign):02X}›" for sign in text)
    return visible(shown.removesuffix("\n"))
