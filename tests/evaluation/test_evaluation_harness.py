import importlib.metadata
import importlib.util
import json

import pytest
import torch
import yaml

from minimind.config import TaskConfig
from minimind.errors import UserError
from minimind.evaluation import tasks as tasks_module
from minimind.evaluation.choices import answer
from minimind.evaluation.harness import harness_inputs, run_harness
from minimind.evaluation.tasks import read_task, run_task, written_answers
from minimind.model.hugging_face import load_model
from minimind.tokenizer.bpe import load_tokenizer


@pytest.fixture
def lm_eval() -> None:
    """Fails where it is not installed: who asks for these tests wants them to run."""
    importlib.metadata.version("lm-eval")


def test_missing_lm_eval_is_said(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"harness_tasks names arc_easy, and lm-eval is not installed; pip install"):
        harness_inputs(["arc_easy"])
    assert harness_inputs([]) == {}


def test_files_of_a_task_are_inputs(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    data, task = tmp_path / "data.jsonl", tmp_path / "bar.yaml"
    data.write_text("{}\n")
    task.write_text(f"task: bar\ndoc_to_text: !function f.g\ndataset_kwargs:\n  data_files: {{test: {data}}}\n")
    assert set(harness_inputs(["arc_easy", str(task)])) == {f"harness {task}", f"harness {data}"}
    included, module = tmp_path / "_default_yaml", tmp_path / "f.py"
    included.write_text("dataset_path: json\n")
    module.write_text("def g(row): return 1\n")
    before = harness_inputs([str(task)])
    assert set(before) == {f"harness {path}" for path in (task, data, included, module)}
    module.write_text("def g(row): return 2\n")
    assert harness_inputs([str(task)]) != before
    with pytest.raises(UserError, match=r"no\.yaml is no file; correct evaluation.harness_tasks"):
        harness_inputs([str(tmp_path / "no.yaml")])


@pytest.mark.harness
@pytest.mark.usefixtures("lm_eval")
def test_scores_equal_ours_on_the_same_items(training, tmp_path, sentences, monkeypatch):
    """Multiple choice by log-likelihood, and exact match; the answers are such that some are right."""
    model = load_model(training.path / "model")
    tokenizer = load_tokenizer(training.path / "model")
    rows = [
        {
            "question": sentences(n, 4).strip(),
            "choices": [sentences(n + 50 * m, 2).strip() for m in (1, 2, 3)],
            "answer": n % 3,
        }
        for n in range(12)
    ]
    (tmp_path / "choices.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr(tasks_module, "MAX_ANSWER_TOKENS", 12)  # with the question within the model's 32 positions
    asked = ["bada", "gu ren", "fel gu", "Ä"]
    with torch.inference_mode():
        written = written_answers(model, tokenizer, asked)
    opened = [
        {"question": text, "answer": answer_ if n else "other"}
        for n, (text, answer_) in enumerate(zip(asked, written, strict=True))
    ]
    (tmp_path / "opened.jsonl").write_text("".join(json.dumps(row) + "\n" for row in opened))
    shared = {"dataset_path": "json", "test_split": "test", "doc_to_text": "{{question}}"}
    tasks = {
        "choices": {"output_type": "multiple_choice", "doc_to_choice": "choices", "doc_to_target": "answer"}
        | {"metric_list": [{"metric": "acc"}, {"metric": "acc_bytes"}]},
        "opened": {"output_type": "generate_until", "doc_to_target": "{{answer}}"}
        | {"generation_kwargs": {"until": ["\n"], "max_gen_toks": 12, "do_sample": False}}
        | {
            "metric_list": [{"metric": "exact_match"}],
            "filter_list": [
                {
                    "name": "strip",
                    "filter": [{"function": "regex", "regex_pattern": r"(\S.*?)\s*$"}, {"function": "take_first"}],
                }
            ],
        },
    }
    for name, values in tasks.items():
        files = {"dataset_kwargs": {"data_files": {"test": str(tmp_path / f"{name}.jsonl")}}}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({"task": name, **shared, **values, **files}))
    results = tmp_path / "results.json"
    found = run_harness(training.path / "model", [str(tmp_path / f"{name}.yaml") for name in tasks], "cpu", results)
    questions = read_task(TaskConfig(name="choices", path=str(tmp_path / "choices.jsonl")))
    ours = run_task(model, tokenizer, questions)
    assert found["choices"]["acc"] == pytest.approx(ours["accuracy"])
    assert found["choices"]["acc_bytes"] == pytest.approx(ours["accuracy_per_byte"])
    samples = sorted(json.loads(results.read_text())["samples"]["choices"], key=lambda sample: sample["doc_id"])
    theirs = [[float(response[0][0]) for response in sample["resps"]] for sample in samples]
    for one, other in zip(answer(model, tokenizer, questions.questions).log_likelihoods, theirs, strict=True):
        assert one.tolist() == pytest.approx(other, rel=1e-4)
    exact = run_task(model, tokenizer, read_task(TaskConfig(name="opened", path=str(tmp_path / "opened.jsonl"))))
    assert found["opened"]["exact_match/strip"] == exact["exact_match"]


@pytest.mark.harness
@pytest.mark.usefixtures("lm_eval")
def test_task_that_needs_a_network_is_refused_in_words(training, tmp_path):
    with pytest.raises(UserError, match="lm-eval did not finish no_such_task"):
        run_harness(training.path / "model", ["no_such_task"], "cpu", tmp_path / "results.json")
