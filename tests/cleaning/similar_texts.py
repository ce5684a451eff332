"""Random texts, near-copies of them, and the brute force that near-duplicates are measured against."""

import random
import re
from collections.abc import Iterable, Mapping
from itertools import combinations


def fillers(count: int, words: int = 40) -> dict[str, str]:
    """Documents that resemble nothing: enough to fill train and holdout beside the ones that a test is about."""
    return {f"filler/{n:03}": random_words(n, words) for n in range(count)}


def random_words(seed: int, words: int) -> str:
    chance = random.Random(f"filler {seed}")
    return " ".join("".join(chance.choices("bdfgklmnprstaeiou", k=6)) for _ in range(words))


def formula_texts() -> tuple[str, dict[str, str]]:
    """A formula of 140 words, and texts with it: one that is mostly formula, and long ones that are not."""
    formula = random_words(4_000, 140)
    texts = {f"law/{n}": f"{formula} {random_words(4_001 + n, 900)}" for n in range(4)}
    return formula, texts | {"law/short": f"{formula} {random_words(4_010, 20)}"}


def shingles(text: str, size: int) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[start : start + size]) for start in range(len(words) - size + 1)}


def all_pairs(texts: Mapping[str, str], size: int, min_jaccard: float = 0.7) -> dict[tuple[str, str], float]:
    """Brute force: every pair of documents with its Jaccard similarity, where that reaches `min_jaccard`."""
    sets = {key: shingles(text, size) for key, text in texts.items()}
    similar = {}
    for a, b in combinations(sorted(sets), 2):
        union = len(sets[a] | sets[b])
        if union and len(sets[a] & sets[b]) / union >= min_jaccard:
            similar[a, b] = len(sets[a] & sets[b]) / union
    return similar


def varied(base: Iterable[str], seed: int, changes: int) -> str:
    """The words of `base` with some exchanged, left out or put in."""
    chance, words = random.Random(f"varied {seed}"), list(base)
    for _ in range(changes):
        place = chance.randrange(len(words))
        match chance.randrange(3):
            case 0:
                words[place] = f"new{chance.randrange(10_000)}"
            case 1:
                del words[place]
            case _:
                words.insert(place, f"more{chance.randrange(10_000)}")
    return " ".join(words)
