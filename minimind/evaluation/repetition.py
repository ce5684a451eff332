"""How much a text repeats itself: what small models do when they lose the thread, and loss does not show."""

from collections.abc import Sequence


def repeated_share(words: Sequence[object], n: int = 4) -> float | None:
    """Share of n-grams that stood earlier in the same text: 1 - distinct / all (Welleck et al. 2020, seq-rep-n).

    None if the text is shorter than one n-gram.
    """
    grams = [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else None


def mean_repeated_share(texts: Sequence[Sequence[object]], n: int = 4) -> float | None:
    """The mean over the texts that are long enough; None if none is."""
    shares = [share for text in texts if (share := repeated_share(text, n)) is not None]
    return sum(shares) / len(shares) if shares else None
