"""How well a model predicts the holdout: by document, by place in the document, and by source and length."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from minimind.config import EvaluationConfig
from minimind.errors import NotComparableError
from minimind.evaluation import overlap
from minimind.evaluation.classes import LENGTHS, POSITIONS
from minimind.evaluation.holdout import Holdout, HoldoutDocument, read_holdout
from minimind.evaluation.intervals import Interval, ratio_interval
from minimind.model.bits_per_byte import bits_per_byte, token_nats
from minimind.model.hugging_face import load_model
from minimind.model.transformer import Transformer
from minimind.tokenizer.bpe import load_tokenizer, token_lengths
from minimind.tokenizer.encoding import encode_documents, with_tokenizers

LOGITS_AT_ONCE = {"cpu": 2**22, "cuda": 2**28}  # fp32: 16 MB and 1 GB; on a CPU larger batches are no faster
BATCHES_PER_REPORT = 16

Progress = Callable[[float, float], None]  # bytes of text scored, bytes of all


@dataclass(frozen=True)
class DocumentScores:
    """One entry a document. Tokens are those predicted: all but the leading end of text.

    Bytes are those of the text, so that special tokens, which stand for none, are in no denominator.
    """

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

    def of(self, rows: NDArray[np.int64]) -> Self:
        """The documents in these rows, in this order."""
        cut: dict[str, Any] = {}
        for field in fields(self):
            values = getattr(self, field.name)
            cut[field.name] = [values[row] for row in rows] if isinstance(values, list) else values[rows]
        return replace(self, **cut)

    def of_source(self, source: str) -> Self:
        return self.of(np.flatnonzero(np.array(self.sources) == source))


@dataclass(frozen=True)
class Scores(DocumentScores):
    """The same with the places in the document, in the holdout's order."""

    position_nats: NDArray[np.float64]  # documents POSITIONS: of the tokens that begin there; nats in sum
    position_bytes: NDArray[np.int64]  # documents POSITIONS: of those tokens; text_bytes in sum

    def interval(self, seed: int) -> Interval:
        """Bits per byte with their 95% interval, by a bootstrap over documents."""
        return ratio_interval(self.nats / np.log(2), self.text_bytes, seed)

    def position_interval(self, position: int, seed: int) -> Interval:
        """The same for the places of one class, in those documents that reach it."""
        rows = self.position_bytes[:, position] > 0
        nats, sizes = self.position_nats[rows, position], self.position_bytes[rows, position]
        return ratio_interval(nats / np.log(2), sizes, seed)

    def length_class(self) -> NDArray[np.int64]:
        """Of each document, which of LENGTHS it belongs to."""
        return np.searchsorted(LENGTHS, self.text_bytes, side="right") - 1


def score_folder(model_folder: Path, holdout: Path, device: str, section: EvaluationConfig) -> Scores:
    """Scores of an exported model, its own tokenizer included, on a holdout.parquet, as `score_unseen` gives them.

    A device is `cpu`, `cuda` or `auto`. Raises ModelNotFoundError for a folder that holds no model.
    """
    model = load_model(model_folder, choose_device(device))
    return score_unseen(model, model_folder, read_holdout(holdout, section.max_bytes), section)


def score_unseen(
    model: Transformer,
    model_folder: Path,
    holdout: Holdout,
    section: EvaluationConfig,
    progress: Progress = lambda done, total: None,
) -> Scores:
    """Scores on the documents that do not stand in the model's own training text.

    They are told by its 13-grams, where these lie in its folder (those of a registered version do). Raises
    NotComparableError where nothing is left.
    """
    if overlap.has_filter(model_folder):
        seen = overlap.read_filter(model_folder / overlap.FILE_NAME)
        leaked = overlap.leaked(holdout.documents, seen, section.max_overlap)
        holdout = holdout.without(leaked)
    if not holdout.documents:
        raise NotComparableError(f"every holdout document stands in the training text of the model in {model_folder}")
    return score(model, load_tokenizer(model_folder), holdout, section.stride_ratio, progress)


def choose_device(wanted: str) -> str:
    """`cpu` if that is wanted, else `cuda` where there is a GPU; the scores are the same but for rounding."""
    return "cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu"


def score(
    model: Transformer,
    tokenizer: Tokenizer,
    holdout: Holdout,
    stride_ratio: float,
    progress: Progress = lambda done, total: None,
) -> Scores:
    """Documents longer than the model's window are read in windows, each `stride_ratio` of one further on."""
    documents = holdout.documents
    encoded = list(encode_documents(with_tokenizers(tokenizer), (document.text for document in documents)))
    lengths = token_lengths(tokenizer)
    window, batch_tokens = model.config.max_positions, tokens_at_once(model)
    shape = len(documents), len(POSITIONS)
    nats, sizes = np.zeros(shape), np.zeros(shape, np.int64)
    done = 0
    for rows in _groups(encoded, BATCHES_PER_REPORT * batch_tokens):
        progress(done, holdout.bytes)
        found = token_nats(
            model, encoded[rows], window_tokens=window, batch_tokens=batch_tokens,
            stride_tokens=max(1, round(stride_ratio * window)),
        )  # fmt: skip
        for row, tokens, document in zip(range(rows.start, rows.stop), encoded[rows], found, strict=True):
            token_bytes = lengths[tokens[1:]].astype(np.int64)
            places = np.searchsorted(POSITIONS, token_bytes.cumsum() - token_bytes, side="right") - 1
            nats[row] = np.bincount(places, document, len(POSITIONS))
            sizes[row] = np.bincount(places, token_bytes, len(POSITIONS))
        done += sum(document.text_bytes for document in documents[rows])
    progress(done, holdout.bytes)
    return _scores(documents, np.array([len(tokens) - 1 for tokens in encoded]), nats, sizes)


def tokens_at_once(model: Transformer) -> int:
    return max(1, LOGITS_AT_ONCE[model.device.type] // model.config.vocabulary_size)


def _groups(encoded: Sequence[NDArray[np.uint32]], min_tokens: int) -> Iterator[slice]:
    """Runs of documents of about `min_tokens`, scored one after the other so that progress can be shown."""
    first = tokens = 0
    for row, document in enumerate(encoded):
        tokens += len(document)
        if tokens >= min_tokens or row == len(encoded) - 1:
            yield slice(first, row + 1)
            first, tokens = row + 1, 0


def _scores(
    documents: list[HoldoutDocument],
    tokens: NDArray[np.int64],
    nats: NDArray[np.float64],
    sizes: NDArray[np.int64],
) -> Scores:
    return Scores(
        document_ids=[document.document_id for document in documents],
        sources=[document.source for document in documents],
        text_bytes=np.array([document.text_bytes for document in documents]),
        tokens=tokens,
        nats=nats.sum(axis=1),
        position_nats=nats,
        position_bytes=sizes,
    )
