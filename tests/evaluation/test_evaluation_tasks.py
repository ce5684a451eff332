import json

import pytest
import torch

from minimind.config import TaskConfig
from minimind.errors import UserError
from minimind.evaluation.choices import Question, answer
from minimind.evaluation.tasks import OpenQuestion, Task, read_task, run_task, written_answers
from minimind.model.hugging_face import load_model
from minimind.tokenizer.bpe import load_tokenizer


def task(tmp_path, *lines) -> TaskConfig:
    path = tmp_path / "task.jsonl"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return TaskConfig(name="bar", path=str(path))


CHOICES = {"question": "What is it? ", "choices": ["a tort", "a trust"], "answer": 1}
OPEN = {"question": "2 + 2 =", "answer": " 4 "}


@pytest.fixture
def loaded(training):
    folder = training.path / "model"
    return load_model(folder), load_tokenizer(folder)


def test_answers_are_named_by_number_or_text(tmp_path):
    read = read_task(task(tmp_path, CHOICES, "", CHOICES | {"answer": "a tort"}))
    question, other = read.questions
    assert question == Question("What is it?", (" a tort", " a trust"), 1)
    assert other.answer == 0
    assert read_task(task(tmp_path, OPEN)).questions == [OpenQuestion("2 + 2 =", "4")]
    assert read_task(task(tmp_path, OPEN | {"answer": "4\n"})).questions == [OpenQuestion("2 + 2 =", "4")]


def test_each_bad_line_is_said_with_its_file_and_number(tmp_path):
    bad = [
        ("{", "it is no valid JSON"),
        ([1], "an object of question, choices and answer was expected, list was found"),
        ({"question": "a"}, "answer is missing; it has question"),
        ({"answer": "a", "choices": ["a", "b"]}, "question is missing"),
        (CHOICES | {"answer": 2}, "answer is 2; the choices are numbered 0 to 1"),
        (CHOICES | {"answer": "a crime"}, "answer is neither the number of a choice"),
        (CHOICES | {"answer": True}, "answer is neither the number of a choice"),
        (CHOICES | {"choices": ["a"]}, "choices is no list of two or more"),
        (CHOICES | {"choices": ["a", "a"]}, "two of its choices are the same"),
        (CHOICES | {"choices": ["a", " a"]}, "two of its choices are the same"),
        (CHOICES | {"question": "a\ud800"}, "half of a surrogate pair"),
        ("[" * 100_000, "it is no valid JSON"),
        (CHOICES | {"choices": ["a", 3]}, "choice 1 is no text"),
        (CHOICES | {"question": " "}, "question is no text, or an empty one"),
        (CHOICES | {"weight": 1}, "weight is unknown"),
        (OPEN | {"answer": "4\nor four"}, "answer has a line break"),
        (OPEN, "it has choices where the first question has none, or the other way round"),
    ]
    section = task(tmp_path, CHOICES, *(line for line, _ in bad))
    with pytest.raises(UserError) as error:
        read_task(section)
    said = str(error.value).splitlines()
    assert len(said) == len(bad)
    for number, (line, (_, sentence)) in enumerate(zip(said, bad, strict=True), start=2):
        assert line.startswith(f"{section.path}, line {number}: ")
        assert sentence in line


def test_question_that_stands_twice_counts_once_and_is_said(tmp_path, caplog):
    section = task(tmp_path, CHOICES, CHOICES | {"question": "Who is it?"}, CHOICES | {"answer": "a trust"}, CHOICES)
    read = read_task(section)
    assert [question.context for question in read.questions] == ["What is it?", "Who is it?"]
    assert f"{section.path}: 2 of 4 questions are asked before; each counts once" in caplog.text


def test_missing_and_empty_files_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"no\.jsonl is no file; correct evaluation.tasks, bar"):
        read_task(TaskConfig(name="bar", path=str(tmp_path / "no.jsonl")))
    with pytest.raises(UserError, match="holds no question"):
        read_task(task(tmp_path, ""))


@torch.inference_mode()
def test_log_likelihoods_equal_brute_force(loaded):
    """One of the questions is longer than the model's window, whose beginning is then not seen."""
    model, tokenizer = loaded
    questions = [
        Question("bada ", ("fel", "gu ren, gu"), 0),
        Question("", (" bada", "Ä"), 1),
        Question("bada fel gu ren " * 8, (" bada", " gu gu"), 0),
    ]
    answers = answer(model, tokenizer, questions)
    for question, found in zip(questions, answers.log_likelihoods, strict=True):
        for choice, score in zip(question.choices, found, strict=True):
            given = len(tokenizer.encode(question.context.rstrip()).ids)
            ids = [0, *tokenizer.encode(question.context + choice).ids]
            expected = 0.0
            for place in range(given + 1, len(ids)):
                start = max(0, len(ids) - 1 - model.config.max_positions)
                logits = model(torch.tensor([ids[start:place]]))[0, -1]
                expected += torch.log_softmax(logits.double(), dim=-1)[ids[place]].item()
            assert score == pytest.approx(expected, rel=1e-5)


def test_accuracy_counts_the_likeliest_choices(loaded):
    model, tokenizer = loaded
    likeliest = [max(range(2), key=lambda n: found[n]) for found in _scores(model, tokenizer)]
    right = [Question(q.context, q.choices, n) for q, n in zip(QUESTIONS, likeliest, strict=True)]
    wrong = [Question(q.context, q.choices, 1 - n) for q, n in zip(QUESTIONS, likeliest, strict=True)]
    figures = run_task(model, tokenizer, Task("t", [*right, *wrong[:1]]))
    assert figures["accuracy"] == 3 / 4
    assert figures["chance"] == 0.5
    assert figures["accuracy_low"] < 3 / 4 < figures["accuracy_high"]


QUESTIONS = [Question(text, (" bada", " gu ren"), 0) for text in ("fel", "gu", "ren bada")]


def _scores(model, tokenizer):
    return answer(model, tokenizer, QUESTIONS).log_likelihoods


def test_exact_match_compares_what_is_written_up_to_a_line_break(loaded):
    model, tokenizer = loaded
    asked = ["bada fel", "gu"]
    written = written_answers(model, tokenizer, asked)
    assert all("\n" not in text and text == text.strip() for text in written)
    opened = [OpenQuestion(asked[0], written[0]), OpenQuestion(asked[1], written[1] + "x")]
    assert run_task(model, tokenizer, Task("t", opened))["exact_match"] == 0.5
