"""The same ids several times as fast: our merges in tiktoken, used where they are seen to give what `tokenizers` gives.

Why they can. `tokenizers` joins the pair of tokens that was merged first in training; tiktoken joins the pair whose
joined bytes have the smallest id. Both are one rule where (1) ids follow the order of the merges, and a token has a
larger id than its parts, and (2) every token, given as text, becomes itself. Then bytes that stand between two borders
no merge has crossed are cut in one way only, and two tokens that join to a known token are the very pair it was merged
from. What remains is the split of a text before merging: two regular expression engines, one pattern.
"""

import importlib.metadata
import json
import logging
from collections.abc import Iterable
from typing import Any, NamedTuple

import tiktoken
from tokenizers import Tokenizer

from minimind.tokenizer.bpe import END_OF_TEXT, END_OF_TEXT_ID, SPECIAL_TOKENS, SPLIT
from minimind.tokenizer.encoding import Encode, Ids, with_tokenizers

logger = logging.getLogger(__name__)

HARD_TEXTS = (
    *SPECIAL_TOKENS,
    f"x {END_OF_TEXT}{END_OF_TEXT}\n<|im_start|>system\r\n<|endoftext|",
    "it's IT'S it'ſ we've WE'VE I'm they'll you'd 's 't''re ’s",
    "  two at both ends  ",
    "\t\ttabs\t \n \n\n  \r\n\r\n \r x\r\ry \n",
    "\u00a0no\u00a0\u2003break\u3000ideographic\u2028line\u2029paragraph\x85next\x0b\x0c\x1c\x1f unit",
    " " * 3_000 + "x" + "\n" * 3_000 + " " * 3_000,
    "7" * 3_000 + " 1.234.567,89 ½²٣४Ⅻ㊿ 2024-01-31T00:00",
    "a" * 3_000 + "Ä" * 500 + "-" * 3_000 + "=\n" * 500,
    "漢字かなカナ한국어、。「」" * 50,
    "العربية עברית ไทย हिन्दी தமிழ் ភាសាខ្មែរ",
    "e\u0301 n\u0303 A\u030a \u0301alone \u200d\u200b\ufeff\u00ad \u0e33\u094d",
    "👩\u200d👩\u200d👧\u200d👦🏳\ufe0f\u200d🌈🇩🇪👍🏽 ☺ \U0010ffff\ue000\ufffd\x00\x01\x7f\x80\x9f",
    "ÃƒÂ¤ â€œ Ã¼ \ufffd\ufffd ï»¿",
    "§ 433 Abs. 1 Satz 2 BGB; Art. 20a GG (BGBl. I S. 1) — „Zitat“ – 5 %",
    "def f(x):\n\treturn {'a': [1, 2]} # ###\n\n\nhttps://example.org/a?b=c&d=%20#e",
)


class ChosenEncoding(NamedTuple):
    encode: Encode
    details: dict[str, Any]  # for the manifest


def choose_encoding(tokenizer: Tokenizer, sample: Iterable[str]) -> ChosenEncoding:
    """tiktoken, if it gives the ids of `tokenizers` for hard texts and for the sample; else `tokenizers`.

    `tokenizer` has to read special tokens as text, as `load_tokenizer` hands it out.
    """
    reference = encoding_by("tokenizers", tokenizer)
    texts = [*HARD_TEXTS, *sample]
    difference = order_of_merges_lost(tokenizer)
    fast = None if difference else encoding_by("tiktoken", tokenizer)
    if fast:
        difference = first_difference(reference, fast, texts)
    if difference:
        logger.warning(
            "tiktoken gives other tokens than tokenizers, which is used instead and is slower: %s", difference
        )
    library = "tokenizers" if difference or not fast else "tiktoken"
    details = {
        "library": library,
        "version": importlib.metadata.version(library),
        "compared_texts": len(texts),
        "compared_bytes": sum(len(text.encode()) for text in texts),
        "difference": difference,
    }
    return ChosenEncoding(fast if fast and not difference else reference, details)


def encoding_by(library: str, tokenizer: Tokenizer) -> Encode:
    """The encoding that was chosen, made again where a part is worked on."""
    return with_tiktoken(tokenizer) if library == "tiktoken" else with_tokenizers(tokenizer)


def with_tiktoken(tokenizer: Tokenizer) -> Encode:
    """Like `with_tokenizers`, for a tokenizer that keeps the order of its merges and has our split."""
    encoding = tiktoken.Encoding(
        "minimind",
        pat_str=SPLIT,
        mergeable_ranks=mergeable_ranks(tokenizer),
        # Never allowed, so never found. Without any, tiktoken looks for the empty token at every character.
        special_tokens={END_OF_TEXT: END_OF_TEXT_ID},
    )
    reference = with_tokenizers(tokenizer)

    def encode(texts: list[str]) -> list[Ids]:
        return [encode_one(text) for text in texts]

    def encode_one(text: str) -> Ids:
        try:
            return encoding.encode_to_numpy(text, disallowed_special=())
        except ValueError as error:  # its regular expressions give up on a million blanks in a row
            logger.info("tiktoken does not encode %d characters (%s); tokenizers does", len(text), error)
            return reference([text])[0]

    return encode


def mergeable_ranks(tokenizer: Tokenizer) -> dict[bytes, int]:
    """Bytes of each token but the special ones -> its id."""
    symbols = byte_symbols()
    special = tokenizer.get_added_tokens_decoder()
    return {
        bytes(symbols[symbol] for symbol in token): token_id
        for token, token_id in tokenizer.get_vocab().items()
        if token_id not in special
    }


def byte_symbols() -> dict[str, int]:
    """The byte that each character of a byte-level token stands for.

    Printable characters of Latin-1 stand for their own byte; the others are U+0100 and on, in the order of the bytes.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + place): byte for place, byte in enumerate(others)}


def order_of_merges_lost(tokenizer: Tokenizer) -> str | None:
    """Where ids do not follow the order of the merges, or a token does not become itself; None if all is in order."""
    ids = tokenizer.get_vocab()
    newest = -1
    for left, right in json.loads(tokenizer.to_str())["model"]["merges"]:
        token_id = ids[left + right]
        if token_id <= max(newest, ids[left], ids[right]):
            return f"the merge of {left!r} and {right!r} has the id {token_id}, which is not above all before it"
        newest = token_id
    special = tokenizer.get_added_tokens_decoder()
    for token, token_id in ids.items():
        if token_id not in special and [part.id for part in tokenizer.model.tokenize(token)] != [token_id]:
            return f"the token {token!r} does not become itself"
    return None


def first_difference(reference: Encode, fast: Encode, texts: list[str]) -> str | None:
    for text, expected, found in zip(texts, reference(texts), fast(texts), strict=True):
        if expected.tolist() != found.tolist():
            pairs = zip(expected.tolist(), found.tolist(), strict=False)
            place = next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(expected), len(found)))
            return (
                f"token {place} of {text[:60]!r}… is {expected[place : place + 3].tolist()}… with tokenizers and "
                f"{found[place : place + 3].tolist()}… with tiktoken"
            )
    return None
