import math

import numpy as np
import pytest
import torch

from minimind.model.bits_per_byte import bits_per_byte, document_nats, token_nats


def brute_force(model, document, window):
    """One window at a time, one target at a time."""
    nats = 0.0
    for start in range(0, len(document) - 1, window):
        piece = document[start : start + window + 1]
        for end in range(1, len(piece)):
            with torch.inference_mode():
                logits = model(torch.from_numpy(piece[:end].astype(np.int64))[None])[0, -1]
            nats -= float(torch.log_softmax(logits.double(), dim=-1)[int(piece[end])])
    return nats


@pytest.mark.parametrize("batch_tokens", [1, 50, 10_000])
def test_nats_equal_brute_force_for_any_batch(small_model, batch_tokens):
    random = np.random.default_rng(1)
    documents = [np.r_[0, random.integers(3, 97, n)].astype(np.uint16) for n in (1, 7, 8, 9, 16, 33, 3)]
    documents.append(np.array([0], dtype=np.uint16))  # an empty document has nothing to score
    nats = document_nats(small_model, documents, window_tokens=8, batch_tokens=batch_tokens)
    np.testing.assert_allclose(nats, [brute_force(small_model, document, 8) for document in documents], rtol=1e-5)
    assert nats[-1] == 0


def test_window_is_never_longer_than_the_positions(small_model):
    document = np.r_[0, np.arange(1, 90)].astype(np.uint16)
    wide, exact = (
        document_nats(small_model, [document], window_tokens=window, batch_tokens=512) for window in (1000, 24)
    )
    np.testing.assert_array_equal(wide, exact)


@pytest.mark.parametrize("stride", [1, 3, 8])
def test_sliding_window_scores_each_token_once_with_the_context_of_its_window(small_model, stride):
    """A target is predicted in the first window, 8 predictions long and `stride` after the last, that reaches it."""
    random = np.random.default_rng(1)
    documents = [np.r_[0, random.integers(3, 97, n)].astype(np.uint16) for n in (1, 7, 8, 9, 16, 23)]
    found = token_nats(small_model, documents, window_tokens=8, batch_tokens=50, stride_tokens=stride)
    for document, nats in zip(documents, found, strict=True):
        assert len(nats) == len(document) - 1
        for target in range(1, len(document)):
            start = max(0, -(-(target - 8) // stride) * stride)
            with torch.inference_mode():
                logits = small_model(torch.from_numpy(document[start:target].astype(np.int64))[None])[0, -1]
            expected = -torch.log_softmax(logits.double(), dim=-1)[int(document[target])].item()
            assert nats[target - 1] == pytest.approx(expected, rel=1e-5)


def test_a_model_that_knows_nothing_needs_eight_bits_for_a_byte():
    assert bits_per_byte(nats=1000 * math.log(256), text_bytes=1000) == pytest.approx(8)
