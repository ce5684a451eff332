"""How well a model predicts the holdout, by document and by source."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from minimind.evaluation.holdout import Holdout, HoldoutDocument, read_holdout
from minimind.model.bits_per_byte import bits_per_byte, document_nats
from minimind.model.hugging_face import load_model
from minimind.model.transformer import Transformer
from minimind.tokenizer.bpe import load_tokenizer
from minimind.tokenizer.encoding import encode_documents, with_tokenizers

LOGITS_AT_ONCE = {"cpu": 2**22, "cuda": 2**28}  # fp32: 16 MB and 1 GB; on a CPU larger batches are no faster
BATCHES_PER_REPORT = 16

Progress = Callable[[float, float], None]  # bytes of text scored, bytes of all


@dataclass(frozen=True)
class Scores:
    """One entry a document, in the holdout's order. Tokens are those predicted: all but the leading end of text."""

    document_ids: list[str]
    sources: list[str]
    text_bytes: NDArray[np.int64]
    tokens: NDArray[np.int64]
    nats: NDArray[np.float64]  # -ln p, summed over the document's tokens

    @property
    def loss(self) -> float:
        """Nats per token."""
        return float(self.nats.sum() / self.tokens.sum())

    @property
    def bits_per_byte(self) -> float:
        return bits_per_byte(float(self.nats.sum()), float(self.text_bytes.sum()))

    def of_source(self, source: str) -> "Scores":
        rows = np.flatnonzero(np.array(self.sources) == source)
        ids = [self.document_ids[row] for row in rows]
        return Scores(ids, [source] * len(rows), self.text_bytes[rows], self.tokens[rows], self.nats[rows])


def score_folder(model_folder: Path, holdout: Path, device: str) -> Scores:
    """Scores of an exported model, its own tokenizer included, on a holdout.parquet.

    Any two models are compared on the same bytes of the same documents. A device is `cpu`, `cuda` or `auto`. Raises
    ModelNotFoundError for a folder that holds no model.
    """
    return score(load_model(model_folder, choose_device(device)), model_folder, read_holdout(holdout))


def choose_device(wanted: str) -> str:
    """`cpu` if that is wanted, else `cuda` where there is a GPU; the scores are the same but for rounding."""
    return "cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu"


def score(
    model: Transformer, tokenizer_folder: Path, holdout: Holdout, progress: Progress = lambda done, total: None
) -> Scores:
    tokenizer = load_tokenizer(tokenizer_folder)
    documents = holdout.documents
    encoded = list(encode_documents(with_tokenizers(tokenizer), (document.text for document in documents)))
    batch_tokens = max(1, LOGITS_AT_ONCE[model.device.type] // model.config.vocabulary_size)
    nats = np.zeros(len(documents))
    done = 0
    for rows in _groups(encoded, BATCHES_PER_REPORT * batch_tokens):
        progress(done, holdout.bytes)
        nats[rows] = document_nats(
            model, encoded[rows], window_tokens=model.config.max_positions, batch_tokens=batch_tokens
        )
        done += sum(document.text_bytes for document in documents[rows])
    progress(done, holdout.bytes)
    return _scores(documents, np.array([len(tokens) - 1 for tokens in encoded]), nats)


def _groups(encoded: Sequence[NDArray[np.uint32]], min_tokens: int) -> Iterator[slice]:
    """Runs of documents of about `min_tokens`, scored one after the other so that progress can be shown."""
    first = tokens = 0
    for row, document in enumerate(encoded):
        tokens += len(document)
        if tokens >= min_tokens or row == len(encoded) - 1:
            yield slice(first, row + 1)
            first, tokens = row + 1, 0


def _scores(documents: list[HoldoutDocument], tokens: NDArray[np.int64], nats: NDArray[np.float64]) -> Scores:
    return Scores(
        document_ids=[document.document_id for document in documents],
        sources=[document.source for document in documents],
        text_bytes=np.array([document.text_bytes for document in documents]),
        tokens=tokens,
        nats=nats,
    )
