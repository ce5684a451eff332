import random

import pytest

from minimind.evaluation.holdout import HoldoutDocument
from minimind.evaluation.questions import (
    AFTER_TERM_CHARS,
    CONTINUATION_CHARS,
    continuation_questions,
    term_questions,
)


@pytest.fixture
def documents(sentences) -> list[HoldoutDocument]:
    texts = [sentences(number, 200) for number in range(5)]
    return [HoldoutDocument(f"h/{n}", "h", len(text.encode()), text) for n, text in enumerate([*texts, "short"])]


def test_right_passage_follows_the_context_and_wrong_ones_stand_elsewhere(documents):
    questions = continuation_questions(documents, 12, seed=1)
    assert len(questions) == 12
    texts = [document.text for document in documents]
    for question in questions:
        right = question.choices[question.answer]
        [home] = [number for number, text in enumerate(texts) if question.context + right in text]
        wrong = [choice for number, choice in enumerate(question.choices) if number != question.answer]
        homes = [next(number for number, text in enumerate(texts) if choice in text) for choice in wrong]
        assert len({home, *homes}) == 4
        assert {len(choice) for choice in question.choices} == {CONTINUATION_CHARS}
    assert len({question.answer for question in questions}) > 1


def test_passages_are_of_one_length_in_documents_that_hardly_hold_them(documents):
    """A passage begins at a word's beginning, up to 40 characters behind the place that is drawn."""
    short = [document._replace(text=document.text[:361]) for document in documents]
    questions = continuation_questions(short, 100, seed=1)
    assert {len(choice) for question in questions for choice in question.choices} == {CONTINUATION_CHARS}
    assert len(questions) == 100
    shorter = [document._replace(text=document.text[:360]) for document in documents]
    assert continuation_questions(shorter, 100, seed=1) == []


def test_questions_depend_on_the_seed_alone(documents):
    assert continuation_questions(documents, 8, seed=1) == continuation_questions(documents, 8, seed=1)
    assert continuation_questions(documents, 8, seed=1) != continuation_questions(documents, 8, seed=2)


def test_too_few_documents_yield_no_questions(documents):
    assert continuation_questions(documents[3:], 8, seed=1) == []
    assert term_questions(documents, [], 8, seed=1) == []


def test_terms_are_rare_words_that_training_has_seen():
    filler = "where this will often stand among these other common words and phrases again"
    terms = ["Estoppel", "bailment", "usufruct", "novation", "subrogation"]
    train = [f"{filler} {term} {filler}" for term in terms for _ in range(2)] + [filler] * 30 + ["unseen hapax"]
    texts = [f"{filler} the {term} holds, {filler} hapax {filler}" for term in terms]
    documents = [HoldoutDocument(f"h/{n}", "h", len(text), text) for n, text in enumerate(texts)]
    questions = term_questions(documents, train, 20, seed=3)
    assert len(questions) == len(terms)
    asked = set()
    for question in questions:
        endings = {choice[-AFTER_TERM_CHARS:] for choice in question.choices}
        assert len(endings) == 1
        right = question.choices[question.answer][:-AFTER_TERM_CHARS]
        asked.add(right)
        assert question.context.endswith("the ")
        words = {choice[:-AFTER_TERM_CHARS].lower() for choice in question.choices}
        assert len(words) == 4
        assert words <= {term.lower() for term in terms}
        assert all(choice[0].isupper() == right[0].isupper() for choice in question.choices)
    assert asked == set(terms)


def test_wrong_terms_do_not_stand_in_the_document_that_is_asked_about():
    filler = "where this will often stand among these other common words and phrases again"
    terms = ["estoppel", "bailment", "usufruct", "novation", "subrogation", "escrow", "tenancy"]
    train = [f"{filler} {term} {filler}" for term in terms for _ in range(2)] + [filler] * 30
    texts = [f"{filler} {' '.join(terms[:4])} {filler}", *(f"{filler} {term} {filler}" for term in terms[4:])]
    documents = [HoldoutDocument(f"h/{n}", "h", len(text), text) for n, text in enumerate(texts)]
    questions = term_questions(documents, train, 20, seed=3)
    assert len(questions) == len(terms)
    for question in questions:
        words = [choice[:-AFTER_TERM_CHARS] for choice in question.choices]
        right = words.pop(question.answer)
        assert not set(words) & set(next(text for text in texts if right in text).split())


def test_one_who_guesses_is_right_as_often_as_chance_says(documents):
    """The right answer's place gives nothing away."""
    questions = continuation_questions(documents, 400, seed=4)
    guess = random.Random(1)
    right = sum(question.answer == guess.randrange(4) for question in questions)
    assert right / 400 == pytest.approx(0.25, abs=0.08)
