"""What a small model of private text may do wrong: repeat its training text, write personal data, run in circles."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random

import torch
from tokenizers import Tokenizer

from minimind.cleaning.personal_data import find
from minimind.config import SamplingConfig
from minimind.evaluation.intervals import Interval, share_interval
from minimind.evaluation.repetition import mean_repeated_share, repeated_share
from minimind.model.generate import generate
from minimind.model.transformer import Transformer
from minimind.shards.reader import ShardReader
from minimind.tokenizer.bpe import END_OF_TEXT_ID
from minimind.training.plan import Plan
from minimind.training.sequences import Sequences

PASSAGE_TOKENS = 50  # given, and then as many expected
TRIES = 100  # for each passage: in a corpus of very short texts, hardly a place has room for one
MAX_REPEATED_SHARE = 0.5  # of a text's 4-grams of words; one with more runs in circles


@dataclass(frozen=True)
class Repeated:
    passages: int
    verbatim: int

    @property
    def share(self) -> Interval:
        return share_interval(self.verbatim, self.passages)


def passage_length(model: Transformer) -> int:
    """Tokens of a passage and what follows it, as many of both; less than twice 50 where the model reads no more."""
    return 2 * min(PASSAGE_TOKENS, (model.config.max_positions + 1) // 2)


def repeated_verbatim(model: Transformer, passages: Sequence[list[int]]) -> Repeated | None:
    """Of how many passages of equal length the model continues the first half by the very second half.

    By likeliest tokens; Carlini et al. 2023, with shorter passages. None where there is none.
    """
    if not passages:
        return None
    half = len(passages[0]) // 2
    prompts = [passage[:half] for passage in passages]
    made = generate(
        model, prompts, max_new_tokens=half, temperature=0, top_p=1, seeds=[0] * len(prompts), stop_tokens=(), rows=64,
    )  # fmt: skip
    pairs = zip(made, passages, strict=True)
    return Repeated(len(passages), sum(one.tokens == passage[half:] for one, passage in pairs))


def draw_from_texts(texts: Iterable[Sequence[int]], length: int, number: int, chance: Random) -> list[list[int]]:
    """Passages of `length` tokens, no place twice; fewer than `number` where the texts do not have so many.

    Those texts that come first take turns, and every place of a text is as likely as any other.
    """
    drawn = []
    for tokens in islice((tokens for tokens in texts if len(tokens) >= length), number):
        places = len(tokens) - length + 1
        drawn.append((tokens, chance.sample(range(places), min(number, places))))
    in_turns = (
        list(tokens[starts[turn] : starts[turn] + length])
        for turn in range(number)
        for tokens, starts in drawn
        if turn < len(starts)
    )
    return list(islice(in_turns, number))


def draw_from_training(shards: Path, plan: Plan, length: int, number: int, chance: Random) -> list[list[int]]:
    """Passages of `length` tokens of what a training has read; fewer than `number` where so many are not found.

    Of the first epoch, or of as much of it as the plan came to. Each lies within one sequence and one document, and of
    all such places each is as likely as any other, and none is drawn twice.
    """
    sequences = Sequences(ShardReader(shards, "train"), plan.sequence_length, plan.seed)
    read = min(plan.steps * plan.batch_sequences, -(-sequences.tokens // plan.sequence_length))
    starts = plan.sequence_length + 2 - length  # of a passage in a sequence and the token behind it
    places = chance.sample(range(read * starts), min(read * starts, TRIES * number))
    found = (tokens_at(sequences, place // starts, place % starts, length) for place in places)
    return list(islice((tokens for tokens in found if END_OF_TEXT_ID not in tokens), number))


def tokens_at(sequences: Sequences, number: int, start: int, length: int) -> list[int]:
    inputs, targets = sequences.batch(number, 1)
    tokens: list[int] = torch.cat([inputs[0], targets[0, -1:]])[start : start + length].tolist()
    return tokens


def encoded(tokenizer: Tokenizer, texts: Sequence[str], chance: Random) -> Iterator[list[int]]:
    """Tokens of the texts, in a drawn order."""
    return (tokenizer.encode(text).ids for text in chance.sample(texts, len(texts)))


def write_texts(
    model: Transformer, tokenizer: Tokenizer, number: int, max_tokens: int, sampling: SamplingConfig, seed: int
) -> list[str]:
    """Texts that the model begins itself, each drawn by a seed of its own."""
    made = generate(
        model, [[END_OF_TEXT_ID]] * number, max_new_tokens=max_tokens, temperature=sampling.temperature,
        top_p=sampling.top_p, seeds=[seed + turn for turn in range(number)], rows=64,
    )  # fmt: skip
    return [tokenizer.decode(generation.tokens, skip_special_tokens=False) for generation in made]


def personal_data(texts: Sequence[str], phone_region: str | None, train_texts: Iterable[str]) -> dict[str, float]:
    """What cleaning's detectors find in the texts, by kind, and how much of it stands so in the training text.

    Only numbers come back: what was found is written nowhere.
    """
    kinds: Counter[str] = Counter()
    found: list[str] = []
    hit_texts = 0
    for text in texts:
        hits = find(text, phone_region)
        hit_texts += bool(hits)
        kinds.update(hit.kind for hit in hits)
        found += [text[hit.start_char : hit.end_char] for hit in hits]
    left = set(found)
    seen: set[str] = set()
    for train_text in train_texts if found else ():
        seen |= {hit for hit in left if hit in train_text}
        left -= seen
    share = share_interval(hit_texts, len(texts))
    return {
        "texts_share": share.value,
        "texts_share_low": share.low,
        "texts_share_high": share.high,
        "hits": len(found),
        "hits_in_training_text": sum(hit in seen for hit in found),
        **{f"{kind}_hits": number for kind, number in sorted(kinds.items())},
    }


def degeneration(texts: Sequence[str]) -> dict[str, float]:
    """Share of the texts in which more than half of the 4-grams of words stood before; the mean over all.

    A text of fewer than four words has none, and counts as one that does not repeat itself.
    """
    written = [text.split() for text in texts]
    shares = [repeated_share(words) for words in written]
    circling = share_interval(sum(share is not None and share > MAX_REPEATED_SHARE for share in shares), len(texts))
    return {
        "degenerate_share": circling.value,
        "degenerate_share_low": circling.low,
        "degenerate_share_high": circling.high,
        "repeated_4_grams": mean_repeated_share(written) or 0.0,
        "texts_below_4_words": sum(share is None for share in shares),
    }
