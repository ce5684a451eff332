"""A tokenizer that is there already, in place of one that is learned."""

import json
import shutil
import unicodedata
from pathlib import Path

from tokenizers import Tokenizer

from minimind.errors import ConfigError
from minimind.tokenizer.bpe import SPECIAL_TOKENS, load_tokenizer, save_tokenizer_config, token_lengths
from minimind.tokenizer.fast_encoding import HARD_TEXTS

FILE = "tokenizer.json"


def keep_tokenizer(source: Path, folder: Path) -> None:
    """Copies the tokenizer.json of a model's folder byte by byte; tokenizer_config.json is ours."""
    shutil.copyfile(source / FILE, folder / FILE)
    save_tokenizer_config(folder)


def check_kept(source: Path, vocabulary_size: int) -> None:
    """Raises ConfigError, with all that is wrong, for a tokenizer that documents cannot be encoded with."""
    path = source / FILE
    if not path.is_file():
        raise ConfigError("tokenizer.keep", [f"{source} has no {FILE}; name the folder of a model that has one"])
    try:
        tokenizer = load_tokenizer(path)
        problems = problems_of(tokenizer, vocabulary_size)
    except Exception as error:  # noqa: BLE001 - tokenizers raises no narrower one
        problems = [f"{path} is no tokenizer: {' '.join(str(error).split())}"]
    if problems:
        raise ConfigError(f"tokenizer.keep ({source})", problems)


def problems_of(tokenizer: Tokenizer, vocabulary_size: int) -> list[str]:
    ids, added = tokenizer.get_vocab(), tokenizer.get_added_tokens_decoder()
    problems = []
    if [ids.get(token) for token in SPECIAL_TOKENS] != [0, 1, 2]:
        problems.append(f"its first tokens are not {', '.join(SPECIAL_TOKENS)}, which documents and chats begin with")
    if len(ids) != vocabulary_size or sorted(ids.values()) != list(range(len(ids))):
        problems.append(
            f"it has {len(ids):,} tokens with ids up to {max(ids.values()):,}, and tokenizer.vocabulary_size is "
            f"{vocabulary_size:,}; set that to the number of tokens, whose ids must have no gap"
        )
    if json.loads(tokenizer.to_str())["model"]["type"] != "BPE":
        problems.append("it is no BPE")
    elif strange := [token.content for token in added.values() if not token.special]:
        problems.append(f"{strange[0]!r} is an added token that is not special, and would be cut out of texts")
    elif lost := first_text_lost(tokenizer):
        problems.append(f"it does not keep every byte of a text: {lost[:40]!r} comes back changed")
    return problems


def first_text_lost(tokenizer: Tokenizer) -> str | None:
    """A text, in the composed form that cleaning leaves, whose bytes its tokens do not add up to."""
    lengths = token_lengths(tokenizer)
    for text in (unicodedata.normalize("NFC", text) for text in HARD_TEXTS):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        if lengths[ids].sum() != len(text.encode()) or tokenizer.decode(ids, skip_special_tokens=False) != text:
            return text
    return None
