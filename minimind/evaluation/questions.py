"""Questions made of the holdout: which text goes on here, and which of the domain's terms is missing here.

Wrong answers come from other holdout documents, so that the model has seen neither them nor the right one; the same
holdout and seed give the same questions for every model.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from random import Random

from minimind.evaluation.choices import Question
from minimind.evaluation.holdout import HoldoutDocument

CHOICES = 4
CONTEXT_CHARS = 240
CONTINUATION_CHARS = 80
WORD_CHARS = 40  # further on, at most, does the next word begin; a longer one is cut
AFTER_TERM_CHARS = 40  # that follow the term; the same for every choice
WORD = re.compile(r"[^\W\d_]{5,}")  # of letters alone: shorter ones are seldom terms
MIN_DOCUMENTS = 2  # of the training text with a term, or it cannot be known
MAX_DOCUMENT_SHARE = 0.1  # with more it is a word of everyday
TERMS_PER_DOCUMENT = 8  # of the highest TF-IDF


def continuation_questions(documents: Sequence[HoldoutDocument], number: int, seed: int) -> list[Question]:
    """Which of four passages follows: the true one, or one from each of three other documents, of the same length.

    The documents take turns. None if fewer than four are long enough.
    """
    chance = Random(seed)
    needed = WORD_CHARS + CONTINUATION_CHARS  # behind the place that is drawn
    texts = [document.text for document in documents if len(document.text) > CONTEXT_CHARS + needed]
    if len(texts) < CHOICES:
        return []
    chance.shuffle(texts)
    questions = []
    for turn in range(number):
        text = texts[turn % len(texts)]
        others = chance.sample([other for other in range(len(texts)) if other != turn % len(texts)], CHOICES - 1)
        place = _word_start(text, chance.randrange(CONTEXT_CHARS, len(text) - needed))
        passages = [_passage(text, place)]
        for other in others:
            start = chance.randrange(0, len(texts[other]) - needed)
            passages.append(_passage(texts[other], _word_start(texts[other], start)))
        questions.append(_shuffled(text[max(0, place - CONTEXT_CHARS) : place], passages, chance))
    return questions


def term_questions(
    documents: Sequence[HoldoutDocument], train_texts: Iterable[str], number: int, seed: int
) -> list[Question]:
    """Which of four terms stands here: the true one, or three about as long and as frequent that this text has nowhere.

    Terms are words of a holdout document with the highest TF-IDF (Sparck Jones 1972) against the training text, which
    holds each in two documents or more and in a tenth of them at most. What follows the term counts with it.
    """
    chance = Random(seed)
    frequencies, total = _document_frequencies(train_texts)
    known = {term for term, count in frequencies.items() if MIN_DOCUMENTS <= count <= MAX_DOCUMENT_SHARE * total}
    found: dict[str, list[tuple[str, int]]] = defaultdict(list)  # term -> (text, where it stands)
    by_document: list[list[str]] = []
    for document in documents:
        places = [(match[0].lower(), match.start()) for match in WORD.finditer(document.text)]
        counts = Counter(word for word, place in places if word in known and place >= AFTER_TERM_CHARS)
        best = sorted(counts, key=lambda word: (-counts[word] * math.log(total / frequencies[word]), word))
        by_document.append(best[:TERMS_PER_DOCUMENT])
        for word, place in places:
            if word in best[:TERMS_PER_DOCUMENT] and place >= AFTER_TERM_CHARS:
                found[word].append((document.text, place))
    # the documents take turns, their best terms first; a term is asked for once
    turns = [terms[turn] for turn in range(TERMS_PER_DOCUMENT) for terms in by_document if turn < len(terms)]
    asked = list(dict.fromkeys(turns))[:number]
    questions = []
    for term in asked:
        text, place = chance.choice(found[term])
        here = {word.lower() for word in WORD.findall(text)}
        elsewhere = [other for other in sorted(found) if other not in here]
        if len(elsewhere) >= CHOICES - 1:
            questions.append(_term_question(term, (text, place), elsewhere, frequencies, chance))
    return questions


def _term_question(
    term: str, where: tuple[str, int], terms: Sequence[str], frequencies: Counter[str], chance: Random
) -> Question:
    text, place = where
    alike = sorted(
        terms,
        key=lambda other: (
            abs(len(other) - len(term)) + abs(math.log(frequencies[other] / frequencies[term])),
            chance.random(),
        ),
    )[: CHOICES - 1]
    written = text[place : place + len(term)]
    after = text[place + len(term) : place + len(term) + AFTER_TERM_CHARS]
    choices = [word + after for word in (written, *(_in_case_of(written, other) for other in alike))]
    return _shuffled(text[max(0, place - CONTEXT_CHARS) : place], choices, chance)


def _document_frequencies(texts: Iterable[str]) -> tuple[Counter[str], int]:
    """In how many texts each word stands, in lower case; and how many texts there are."""
    counts: Counter[str] = Counter()
    total = 0
    for text in texts:
        counts.update(set(WORD.findall(text.lower())))
        total += 1
    return counts, total


def _in_case_of(written: str, term: str) -> str:
    if written.isupper():
        return term.upper()
    return term.capitalize() if written[0].isupper() else term


def _word_start(text: str, place: int) -> int:
    """The next place where a blank stands before a word; `place` itself where none is near."""
    match = re.compile(r"\s(?=\S)").search(text, place, place + WORD_CHARS)
    return match.start() if match else place


def _passage(text: str, place: int) -> str:
    return text[place : place + CONTINUATION_CHARS]


def _shuffled(context: str, choices: Sequence[str], chance: Random) -> Question:
    """The first choice is the right one."""
    order = list(range(len(choices)))
    chance.shuffle(order)
    return Question(context, tuple(choices[number] for number in order), order.index(0))
