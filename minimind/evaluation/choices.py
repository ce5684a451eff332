"""Questions with several answers, of which the model finds one likeliest: generated ones and labelled ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from minimind.evaluation.intervals import Interval, share_interval
from minimind.evaluation.scoring import tokens_at_once
from minimind.model.bits_per_byte import token_nats
from minimind.model.transformer import Transformer
from minimind.tokenizer.bpe import END_OF_TEXT_ID


@dataclass(frozen=True)
class Question:
    context: str
    choices: tuple[str, ...]  # that may follow the context, their leading space included
    answer: int  # which of them is right


@dataclass(frozen=True)
class Answers:
    """Of each question, ln p of each choice after its context, and its bytes."""

    questions: Sequence[Question]
    log_likelihoods: list[NDArray[np.float64]]

    def right(self, per_byte: bool) -> int:
        """Questions whose right choice is the likeliest, by its log-likelihood or by that per byte."""
        return sum(
            int(np.argmax(scores / _bytes(question) if per_byte else scores)) == question.answer
            for question, scores in zip(self.questions, self.log_likelihoods, strict=True)
        )

    def accuracy(self, per_byte: bool) -> Interval:
        return share_interval(self.right(per_byte), len(self.questions))

    @property
    def chance(self) -> float:
        """Share of right answers for one who knows nothing."""
        return float(np.mean([1 / len(question.choices) for question in self.questions]))


def answer(model: Transformer, tokenizer: Tokenizer, questions: Sequence[Question]) -> Answers:
    """As lm-eval does it: context and choice are encoded together, the choice is what exceeds the context's tokens.

    Blanks at the context's end count to the choice. What does not fit the model's window is cut off in front.
    """
    sequences, scored = [], []
    window = model.config.max_positions
    for question in questions:
        bare = question.context.rstrip()
        blanks = question.context[len(bare) :]
        given = len(tokenizer.encode(bare).ids)
        for choice in question.choices:
            ids = [END_OF_TEXT_ID, *tokenizer.encode(bare + blanks + choice).ids]
            sequences.append(np.array(ids[-(window + 1) :], np.uint32))
            scored.append(max(1, min(len(ids) - 1 - given, window)))
    nats = token_nats(model, sequences, window_tokens=window, batch_tokens=tokens_at_once(model))
    totals = iter(-tokens[len(tokens) - count :].sum() for tokens, count in zip(nats, scored, strict=True))
    return Answers(questions, [np.array([next(totals) for _ in question.choices]) for question in questions])


def _bytes(question: Question) -> NDArray[np.float64]:
    return np.array([max(1, len(choice.encode())) for choice in question.choices], np.float64)
