"""Questions with known answers from the YAML's files: multiple choice by log-likelihood, or exact match."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from minimind.config import TaskConfig
from minimind.digests import sha256_of_file
from minimind.errors import UserError
from minimind.evaluation.choices import Question, answer
from minimind.evaluation.intervals import share_interval
from minimind.model.generate import generate
from minimind.model.transformer import Transformer
from minimind.tokenizer.bpe import END_OF_TEXT_ID

logger = logging.getLogger(__name__)
MAX_ANSWER_TOKENS = 64  # that are written before a line break ends the answer
MAX_PROBLEMS = 20  # of a file, that are listed
KEYS = {"question", "choices", "answer"}


@dataclass(frozen=True)
class OpenQuestion:
    question: str
    answer: str


@dataclass(frozen=True)
class Task:
    name: str
    questions: list[Question] | list[OpenQuestion]


class LineError(ValueError):
    """What is wrong with a line, in words."""


def task_inputs(tasks: Sequence[TaskConfig]) -> dict[str, str]:
    """Name -> sha256 of the files."""
    return {f"task {task.name}": sha256_of_file(_existing(task)) for task in tasks}


def read_tasks(sections: Sequence[TaskConfig]) -> list[Task]:
    """Raises UserError with a sentence for each bad line of a file."""
    return [read_task(section) for section in sections]


def read_task(section: TaskConfig) -> Task:
    path = _existing(section)
    try:
        content = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 (byte {error.start:,}); save it as UTF-8") from None
    found: list[Any] = []
    problems: list[str] = []
    for number, line in enumerate(content.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            question = _question(line)
            if found and type(question) is not type(found[0]):
                raise LineError(
                    "it has choices where the first question has none, or the other way round; use two files"
                )
            found.append(question)
        except LineError as error:
            problems.append(f"{path}, line {number:,}: {error}")
    if problems:
        more = [f"and {len(problems) - MAX_PROBLEMS:,} more"] if len(problems) > MAX_PROBLEMS else []
        raise UserError("\n".join([*problems[:MAX_PROBLEMS], *more]))
    if not found:
        raise UserError(f"{path} holds no question; evaluation.tasks needs one a line, or leave {section.name} out")
    once = list(dict.fromkeys(found))
    if len(once) < len(found):
        logger.warning(
            "%s: %d of %d questions are asked before; each counts once", path, len(found) - len(once), len(found)
        )
    return Task(section.name, once)


def run_task(model: Transformer, tokenizer: Tokenizer, task: Task) -> dict[str, float]:
    """`questions` and, with intervals, `accuracy` and `accuracy_per_byte`, or `exact_match`."""
    choices = [question for question in task.questions if isinstance(question, Question)]
    if choices:
        answers = answer(model, tokenizer, choices)
        accuracy, per_byte = answers.accuracy(per_byte=False), answers.accuracy(per_byte=True)
        return {
            "questions": len(choices),
            "chance": answers.chance,
            "accuracy": accuracy.value,
            "accuracy_low": accuracy.low,
            "accuracy_high": accuracy.high,
            "accuracy_per_byte": per_byte.value,
        }
    opened = [question for question in task.questions if isinstance(question, OpenQuestion)]
    written = written_answers(model, tokenizer, [question.question for question in opened])
    right = sum(text == question.answer for text, question in zip(written, opened, strict=True))
    share = share_interval(right, len(opened))
    return {
        "questions": len(opened),
        "exact_match": share.value,
        "exact_match_low": share.low,
        "exact_match_high": share.high,
    }


def written_answers(model: Transformer, tokenizer: Tokenizer, questions: Sequence[str]) -> list[str]:
    """What the model writes by likeliest tokens up to a line break, without blanks around it."""

    def over(tokens: Sequence[int]) -> bool:
        return "\n" in tokenizer.decode(list(tokens)).lstrip(" ")

    made = generate(
        model, [[END_OF_TEXT_ID, *tokenizer.encode(question).ids] for question in questions],
        max_new_tokens=MAX_ANSWER_TOKENS, temperature=0, top_p=1, seeds=[0] * len(questions), ends=over,
    )  # fmt: skip
    return [tokenizer.decode(generation.tokens).lstrip(" ").partition("\n")[0].strip() for generation in made]


def _question(line: str) -> Question | OpenQuestion:
    try:
        row = json.loads(line)
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise LineError("it holds half of a surrogate pair; write the character itself") from None
    except (ValueError, RecursionError) as error:
        raise LineError(f"it is no valid JSON ({error}); mend it") from None
    if not isinstance(row, dict):
        raise LineError(f"an object of question, choices and answer was expected, {type(row).__name__} was found")
    for key in ("question", "answer"):
        if key not in row:
            raise LineError(f"{key} is missing; it has {', '.join(sorted(row)) or 'no key'}")
    if unknown := sorted(row.keys() - KEYS):
        raise LineError(f"{', '.join(unknown)} is unknown; only question, choices and answer are read")
    question = row["question"]
    if not isinstance(question, str) or not question.strip():
        raise LineError("question is no text, or an empty one")
    if "choices" not in row:
        return OpenQuestion(question.rstrip(), _one_line(_text(row["answer"], "answer").strip()))
    return Question(question.rstrip(), *_choices(row["choices"], row["answer"]))


def _choices(choices: Any, answer: Any) -> tuple[tuple[str, ...], int]:
    if not isinstance(choices, list) or len(choices) < 2:
        raise LineError("choices is no list of two or more")
    texts = [_text(choice, f"choice {number}") for number, choice in enumerate(choices)]
    if len({text.strip() for text in texts}) < len(texts):
        raise LineError("two of its choices are the same")
    if isinstance(answer, int) and not isinstance(answer, bool):
        if not 0 <= answer < len(texts):
            raise LineError(f"answer is {answer}; the choices are numbered 0 to {len(texts) - 1}")
        place = answer
    elif isinstance(answer, str) and answer in texts:
        place = texts.index(answer)
    else:
        raise LineError("answer is neither the number of a choice, from 0, nor its text")
    return tuple(f" {text}" for text in texts), place


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise LineError(f"{name} is no text, or an empty one")
    return value


def _one_line(answer: str) -> str:
    if "\n" in answer:
        raise LineError("answer has a line break, and what the model writes ends at one; give an answer of one line")
    return answer


def _existing(section: TaskConfig) -> Path:
    path = Path(section.path).expanduser()
    if not path.is_file():
        raise UserError(f"{section.path} is no file; correct evaluation.tasks, {section.name}")
    return path
