"""`minimind generate`: a continuation, streamed token by token."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from flows.settings import store_root, tracking_uri
from minimind.errors import UserError


def stream_text(
    model: str, prompt: str, option: Path | None, as_json: bool,
    *, seed: int, temperature: float, top_p: float, max_new_tokens: int,
) -> None:  # fmt: skip
    """Prints the prompt and its continuation as it is drawn; with `as_json`, one object at the end."""
    from minimind.model.generate import stream
    from minimind.model.hugging_face import load_model
    from minimind.tokenizer.bpe import END_OF_TEXT, load_tokenizer

    if not prompt.isprintable() and any("\ud800" <= sign <= "\udfff" for sign in prompt):
        raise UserError("the prompt holds bytes that are no UTF-8; write it in UTF-8")
    folder = find_folder(model, store_root(option))
    transformer, tokenizer = load_model(folder), load_tokenizer(folder / "tokenizer.json")
    prompt_ids = [tokenizer.token_to_id(END_OF_TEXT), *tokenizer.encode(prompt).ids]
    tokens = stream(
        transformer, prompt_ids, max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p, seed=seed
    )
    if as_json:
        drawn = list(tokens)
        print(json.dumps({"model": model, "prompt": prompt, "text": tokenizer.decode(drawn), "tokens": len(drawn)}))
        return
    print(prompt, end="", flush=True)
    for piece in whole_characters(tokens, tokenizer.decode):
        print(piece, end="", flush=True)
    print()


def find_folder(model: str, root: Path) -> Path:
    """The folder that `model` names. Raises ModelNotFoundError, which says what there is instead."""
    from minimind.registry.packaged_model import resolve_model

    return resolve_model(model, tracking_uri(root), root)


def whole_characters(tokens: Iterator[int], decode: Callable[[list[int]], str]) -> Iterator[str]:
    """Text of a token stream, held back while a character is only half there."""
    drawn: list[int] = []
    said = 0
    for token in tokens:
        drawn.append(token)
        text = decode(drawn)
        if not text.endswith("\ufffd"):
            yield text[said:]
            said = len(text)
    yield decode(drawn)[said:]
