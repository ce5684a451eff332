"""Weights per source: how often training sees a document in one epoch."""

from collections.abc import Iterable, Iterator, Mapping

from minimind.errors import CorpusTooSmallError
from minimind.tokenizer.encoding import TokenizedDocument
from minimind.tokenizer.sampling import drawn


class Mixing:
    """Decides how often each training document occurs, and counts by source what that changes."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        self.weights = weights
        self._rows: dict[str, dict[str, float]] = {}

    def weighted(self, documents: Iterable[TokenizedDocument]) -> Iterator[TokenizedDocument]:
        """The documents with their occurrences, without those that have none."""
        for document in documents:
            times = occurrences(document.document_id, self.weights.get(document.source, 1.0))
            self._count(document, times)
            if times:
                yield document._replace(occurrences=times)

    def rows(self) -> list[dict[str, object]]:
        """By source: weight, documents and tokens as they are, and as an epoch has them.

        Raises CorpusTooSmallError if an epoch has no document.
        """
        if not any(row["epoch_documents"] for row in self._rows.values()):
            documents = sum(row["documents"] for row in self._rows.values())
            raise CorpusTooSmallError(
                f"shards.source_weights leave none of the {documents:,.0f} training documents; raise a weight"
            )
        return [{"source": source, **row} for source, row in sorted(self._rows.items())]

    def _count(self, document: TokenizedDocument, times: int) -> None:
        weight = self.weights.get(document.source, 1.0)
        names = ("documents", "tokens", "epoch_documents", "epoch_tokens")
        row = self._rows.setdefault(document.source, {"weight": weight} | dict.fromkeys(names, 0))
        tokens = len(document.tokens)
        for name, more in zip(names, (1, tokens, times, times * tokens), strict=True):
            row[name] += more


def occurrences(document_id: str, weight: float) -> int:
    """floor(weight), and once more for the share of documents that the rest of the weight names."""
    whole = int(weight)
    return whole + (drawn("weight", document_id) < weight - whole)
