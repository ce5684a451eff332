import math

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from minimind.errors import ModelNotFoundError
from minimind.evaluation import holdout as holdout_module
from minimind.evaluation import scoring
from minimind.evaluation.holdout import first_by_hash, read_holdout
from minimind.evaluation.scoring import choose_device, score_folder
from minimind.model.hugging_face import load_model
from minimind.tokenizer.bpe import load_tokenizer


def brute_force_nats(model, tokens):
    """-log p of each token but the first, one at a time, each from its window's beginning on."""
    window, nats = model.config.max_positions, 0.0
    for target in range(1, len(tokens)):
        start = (target - 1) // window * window
        logits = model(torch.tensor([tokens[start:target]]))[0, -1]
        nats -= torch.log_softmax(logits.double(), dim=-1)[tokens[target]].item()
    return nats


@torch.inference_mode()
def test_scores_equal_brute_force(training, cleaning):
    folder, path = training.path / "model", cleaning.file("holdout.parquet")
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    rows = pq.read_table(path).to_pylist()
    scores = score_folder(folder, path, "cpu", 1.0)
    ids = [[0, *tokenizer.encode(row["text"]).ids] for row in rows]
    assert scores.document_ids == [row["document_id"] for row in rows]
    assert scores.sources == [row["source"] for row in rows]
    assert scores.tokens.tolist() == [len(tokens) - 1 for tokens in ids]
    assert scores.text_bytes.tolist() == [len(row["text"].encode()) for row in rows]
    for nats, tokens in zip(scores.nats, ids, strict=True):
        assert nats == pytest.approx(brute_force_nats(model, tokens), rel=1e-5)


def test_loss_and_bits_per_byte_are_nats_by_tokens_and_bits_by_bytes(training, cleaning):
    scores = score_folder(training.path / "model", cleaning.file("holdout.parquet"), "auto", 1.0)
    assert scores.loss == pytest.approx(scores.nats.sum() / scores.tokens.sum())
    assert scores.bits_per_byte == pytest.approx(scores.nats.sum() / math.log(2) / cleaning.counts["holdout_bytes"])


def test_sources_add_up_to_the_whole(training, cleaning):
    scores = score_folder(training.path / "model", cleaning.file("holdout.parquet"), "cpu", 1.0)
    parts = [scores.of_source(source) for source in ("law", "tax")]
    for name in ("nats", "tokens", "text_bytes", "position_nats", "position_bytes"):
        assert sum(getattr(part, name).sum() for part in parts) == pytest.approx(getattr(scores, name).sum())
    assert sorted(parts[0].document_ids + parts[1].document_ids) == scores.document_ids
    assert {name.partition("/")[0] for name in parts[1].document_ids} == {"tax"}


def test_groups_for_progress_leave_the_scores_as_they_are(training, cleaning, monkeypatch):
    folder, path = training.path / "model", cleaning.file("holdout.parquet")
    whole = score_folder(folder, path, "cpu", 1.0)
    monkeypatch.setattr(scoring, "LOGITS_AT_ONCE", {"cpu": 400 * 40})
    monkeypatch.setattr(scoring, "BATCHES_PER_REPORT", 2)
    seen = []
    holdout = read_holdout(path)
    scores = scoring.score(
        load_model(folder), load_tokenizer(folder), holdout, 1.0, lambda done, total: seen.append((done, total))
    )
    np.testing.assert_allclose(scores.nats, whole.nats, rtol=1e-5)
    assert len(seen) > 3
    assert seen == sorted(seen)
    assert seen[-1] == (holdout.bytes, holdout.bytes)


def test_folder_without_a_model_is_refused(cleaning, tmp_path):
    with pytest.raises(ModelNotFoundError):
        score_folder(tmp_path, cleaning.file("holdout.parquet"), "cpu", 1.0)


def test_device_is_the_cpu_where_that_is_wanted_or_nothing_else_is_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [choose_device(wanted) for wanted in ("cpu", "auto", "cuda")] == ["cpu", "cuda", "cuda"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert [choose_device(wanted) for wanted in ("cpu", "auto")] == ["cpu", "cpu"]


def test_small_holdout_is_scored_whole(cleaning):
    holdout = read_holdout(cleaning.file("holdout.parquet"))
    assert len(holdout.documents) == holdout.all_documents == cleaning.counts["holdout_documents"]
    assert holdout.bytes == holdout.all_bytes == cleaning.counts["holdout_bytes"]


def test_large_holdout_is_sampled_by_document_id_alone(cleaning):
    path = cleaning.file("holdout.parquet")
    sample = read_holdout(path, max_bytes=2_000)
    ids = [document.document_id for document in sample.documents]
    assert 1 < len(ids) < sample.all_documents == 9
    assert sample.bytes <= 2_000 < sample.all_bytes
    assert ids == sorted(ids)
    assert all(len(document.text.encode()) == document.text_bytes for document in sample.documents)
    fewer = [document.document_id for document in read_holdout(path, max_bytes=1_000).documents]
    assert set(fewer) < set(ids)
    assert holdout_module.MAX_SCORED_BYTES >= 1_000_000


def test_first_by_hash_takes_one_document_whatever_its_size():
    assert first_by_hash({"a/1": 100}, max_bytes=10) == ["a/1"]
    assert len(first_by_hash({f"a/{n}": 100 for n in range(9)}, max_bytes=10)) == 1
    assert first_by_hash({f"a/{n}": 5 for n in range(9)}, 22) == first_by_hash({f"a/{n}": 5 for n in range(9)}, 45)[:4]


@pytest.mark.gpu
def test_a_gpu_gives_the_same_scores(training, cleaning):
    folder, path = training.path / "model", cleaning.file("holdout.parquet")
    np.testing.assert_allclose(
        score_folder(folder, path, "cuda", 1.0).nats, score_folder(folder, path, "cpu", 1.0).nats, rtol=1e-4
    )
