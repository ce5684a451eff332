"""Texts that the model writes: continuations of the YAML's prompts and of holdout documents' beginnings."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tokenizers import Tokenizer

from minimind.config import SamplingConfig
from minimind.evaluation.holdout import HoldoutDocument
from minimind.model.generate import generate
from minimind.model.transformer import Transformer
from minimind.tokenizer.bpe import END_OF_TEXT_ID

HOLDOUT_PROMPT_CHARS = 160


@dataclass(frozen=True)
class Prompt:
    text: str
    kind: Literal["prompt", "holdout"]
    document_id: str | None = None  # of the holdout document that begins so
    continuation: str = ""  # what follows in that document


@dataclass(frozen=True)
class Sample:
    prompt: Prompt
    tokens: list[int]
    text: str
    ended: bool  # the model ended the text itself


def write_samples(
    model: Transformer, tokenizer: Tokenizer, prompts: Sequence[Prompt], section: SamplingConfig
) -> list[Sample]:
    """One sample a prompt, each with its own seed: the section's, then counted up."""
    made = generate(
        model,
        [[END_OF_TEXT_ID, *tokenizer.encode(prompt.text).ids] for prompt in prompts],
        max_new_tokens=section.max_new_tokens,
        temperature=section.temperature,
        top_p=section.top_p,
        seeds=[section.seed + number for number in range(len(prompts))],
    )
    return [
        Sample(prompt, one.tokens, tokenizer.decode(one.tokens, skip_special_tokens=False), one.ended)
        for prompt, one in zip(prompts, made, strict=True)
    ]


def all_prompts(section: SamplingConfig, documents: Sequence[HoldoutDocument]) -> list[Prompt]:
    """The YAML's prompts, then beginnings of holdout documents, chosen by the hashes of their ids.

    A space at a prompt's end is dropped: a token of text begins with its space, so none would continue that prompt.
    """
    prompts = [Prompt(text.rstrip(" "), "prompt") for text in section.prompts]
    by_hash = sorted(documents, key=lambda document: hashlib.sha256(document.document_id.encode()).digest())
    return prompts + [_beginning(document) for document in by_hash[: section.holdout_prompts]]


def _beginning(document: HoldoutDocument) -> Prompt:
    """The first words of a document as a prompt; half of it at most."""
    limit = min(HOLDOUT_PROMPT_CHARS, len(document.text) // 2)
    words = [match.end() for match in re.finditer(r"\S+(?=\s)", document.text[: limit + 1])]
    end = words[-1] if words else limit
    return Prompt(document.text[:end], "holdout", document.document_id, document.text[end:])
