import math
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from minimind.errors import ModelNotFoundError
from minimind.evaluation import overlap, scoring
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
def test_scores_equal_brute_force(training, cleaning, section):
    folder, path = training.path / "model", cleaning.file("holdout.parquet")
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    rows = pq.read_table(path).to_pylist()
    scores = score_folder(folder, path, "cpu", section)
    ids = [[0, *tokenizer.encode(row["text"]).ids] for row in rows]
    assert scores.document_ids == [row["document_id"] for row in rows]
    assert scores.sources == [row["source"] for row in rows]
    assert scores.tokens.tolist() == [len(tokens) - 1 for tokens in ids]
    assert scores.text_bytes.tolist() == [len(row["text"].encode()) for row in rows]
    for nats, tokens in zip(scores.nats, ids, strict=True):
        assert nats == pytest.approx(brute_force_nats(model, tokens), rel=1e-5)


def test_loss_and_bits_per_byte_are_nats_by_tokens_and_bits_by_bytes(training, cleaning, section):
    scores = score_folder(training.path / "model", cleaning.file("holdout.parquet"), "auto", section)
    assert scores.loss == pytest.approx(scores.nats.sum() / scores.tokens.sum())
    assert scores.bits_per_byte == pytest.approx(scores.nats.sum() / math.log(2) / cleaning.counts["holdout_bytes"])


def test_sources_add_up_to_the_whole(training, cleaning, section):
    scores = score_folder(training.path / "model", cleaning.file("holdout.parquet"), "cpu", section)
    parts = [scores.of_source(source) for source in ("law", "tax")]
    for name in ("nats", "tokens", "text_bytes", "position_nats", "position_bytes"):
        assert sum(getattr(part, name).sum() for part in parts) == pytest.approx(getattr(scores, name).sum())
    assert sorted(parts[0].document_ids + parts[1].document_ids) == scores.document_ids
    assert {name.partition("/")[0] for name in parts[1].document_ids} == {"tax"}


def test_groups_for_progress_leave_the_scores_as_they_are(training, cleaning, monkeypatch, section):
    folder, path = training.path / "model", cleaning.file("holdout.parquet")
    whole = score_folder(folder, path, "cpu", section)
    monkeypatch.setattr(scoring, "LOGITS_AT_ONCE", {"cpu": 400 * 40})
    monkeypatch.setattr(scoring, "BATCHES_PER_REPORT", 2)
    seen = []
    holdout = read_holdout(path, 4_000_000)
    scores = scoring.score(
        load_model(folder), load_tokenizer(folder), holdout, 1.0, lambda done, total: seen.append((done, total))
    )
    np.testing.assert_allclose(scores.nats, whole.nats, rtol=1e-5)
    assert len(seen) > 3
    assert seen == sorted(seen)
    assert seen[-1] == (holdout.bytes, holdout.bytes)


@pytest.mark.parametrize("stride_ratio", [1.0, 0.5])
def test_nats_equal_stock_transformers_loss(training, cleaning, section, stride_ratio):
    """The loop of Hugging Face's guide to perplexity: windows, targets of earlier ones masked, the model's own loss."""
    from transformers import Qwen3ForCausalLM

    folder, path = training.path / "model", cleaning.file("holdout.parquet")
    stock, tokenizer = Qwen3ForCausalLM.from_pretrained(folder).eval(), load_tokenizer(folder)
    section = section.model_copy(update={"stride_ratio": stride_ratio})
    scores = score_folder(folder, path, "cpu", section)
    window, stride = 32, round(32 * stride_ratio)
    for row, text in list(enumerate(pq.read_table(path)["text"].to_pylist()))[3:6]:
        ids = torch.tensor([[0, *tokenizer.encode(text).ids]])
        nats, done = 0.0, 0
        for start in range(0, ids.shape[1] - 1, stride):
            piece = ids[:, start : start + window + 1]
            end = start + piece.shape[1] - 1
            if end == done:
                break
            labels = piece.clone()
            labels[:, : -(end - done)] = -100
            with torch.inference_mode():  # the last position has no target and needs no place
                nats += stock(piece, labels=labels).loss.item() * (end - done)
            done = end
        assert scores.nats[row] == pytest.approx(nats, rel=1e-5)


def test_places_hold_all_nats_and_bytes_and_no_special_token(training, cleaning, section):
    folder, path = training.path / "model", cleaning.file("holdout.parquet")
    scores = score_folder(folder, path, "cpu", section)
    assert scores.position_bytes.sum(axis=1).tolist() == scores.text_bytes.tolist()
    long, short = scores.document_ids.index("tax/long"), scores.document_ids.index("tax/one")
    sizes = scores.position_bytes[long]
    assert sizes[0] == pytest.approx(256, abs=12)
    assert sizes[1] == pytest.approx(scores.text_bytes[long] - 256, abs=12)
    assert scores.position_bytes[short].tolist() == [1, 0, 0, 0, 0]
    assert scores.interval(seed=1).value == pytest.approx(scores.bits_per_byte)
    of_first = scores.position_interval(0, seed=1)
    assert of_first.low < of_first.value < of_first.high


def test_documents_of_the_models_own_training_text_are_not_scored(training, cleaning, section, tmp_path):
    """Its 13-grams lie in its folder, as they do for a registered version, whatever the snapshot it came from."""
    folder = tmp_path / "model"
    shutil.copytree(training.path / "model", folder)
    path = cleaning.file("holdout.parquet")
    overlap.make_filter(path).write(folder / overlap.FILE_NAME)
    left = score_folder(folder, path, "cpu", section).document_ids
    assert left == ["law/h0", "tax/odd", "tax/one"]  # too short for a 13-gram


def test_folder_without_a_model_is_refused(cleaning, tmp_path, section):
    with pytest.raises(ModelNotFoundError):
        score_folder(tmp_path, cleaning.file("holdout.parquet"), "cpu", section)


def test_device_is_the_cpu_where_that_is_wanted_or_nothing_else_is_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [choose_device(wanted) for wanted in ("cpu", "auto", "cuda")] == ["cpu", "cuda", "cuda"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert [choose_device(wanted) for wanted in ("cpu", "auto")] == ["cpu", "cpu"]


def test_small_holdout_is_scored_whole(cleaning):
    holdout = read_holdout(cleaning.file("holdout.parquet"), 4_000_000)
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
    assert 0 < len(fewer) < len(ids)


def test_first_by_hash_takes_one_document_whatever_its_size():
    assert first_by_hash({"a/1": 100}, max_bytes=10) == ["a/1"]
    assert len(first_by_hash({f"a/{n}": 100 for n in range(9)}, max_bytes=10)) == 1
    several = {f"a/{n}": 5 for n in range(9)}
    order = first_by_hash(several, 45)
    assert len(order) == 9
    assert first_by_hash(several, 22) == order[:4]
    for too_long in (0, 2):
        expected = [each for each in order if each != order[too_long]][:4]
        assert first_by_hash(several | {order[too_long]: 30}, 22) == expected


@pytest.mark.gpu
def test_a_gpu_gives_the_same_scores(training, cleaning, section):
    folder, path = training.path / "model", cleaning.file("holdout.parquet")
    np.testing.assert_allclose(
        score_folder(folder, path, "cuda", section).nats, score_folder(folder, path, "cpu", section).nats, rtol=1e-4
    )
