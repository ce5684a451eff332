"""Weights per source, and of old documents: how often training sees a document in one epoch."""

from collections.abc import Iterable, Iterator, Mapping

from minimind.errors import CorpusTooSmallError
from minimind.shards.replay import OldDocuments
from minimind.tokenizer.encoding import TokenizedDocument
from minimind.tokenizer.sampling import drawn


class Mixing:
    """Decides how often each training document occurs, and counts by source and by age what that changes."""

    def __init__(self, weights: Mapping[str, float], old: OldDocuments | None = None) -> None:
        self.weights = weights
        self.old = old
        self._rows: dict[str, dict[str, float]] = {}
        self._ages: dict[str, dict[str, float]] = {}

    def weighted(self, documents: Iterable[TokenizedDocument]) -> Iterator[TokenizedDocument]:
        """The documents with their occurrences, without those that have none."""
        for document in documents:
            weight = self.weights.get(document.source, 1.0)
            times = occurrences(document.document_id, weight * self._age_weight(document))
            count(self._rows, document.source, weight, document, times)
            if self.old:
                age = "old" if document.document_id in self.old.ids else "new"
                count(self._ages, age, self._age_weight(document), document, times)
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

    def ages(self) -> list[dict[str, object]]:
        """The same of old and of new documents; nothing where all count alike."""
        return [{"age": age, **row} for age, row in sorted(self._ages.items())]

    def _age_weight(self, document: TokenizedDocument) -> float:
        return self.old.weight if self.old and document.document_id in self.old.ids else 1.0


def count(rows: dict[str, dict[str, float]], key: str, weight: float, document: TokenizedDocument, times: int) -> None:
    """Adds a document that occurs so many times to the row of `key`."""
    tokens = len(document.tokens)
    counted = {"documents": 1, "tokens": tokens, "epoch_documents": times, "epoch_tokens": times * tokens}
    row = rows.setdefault(key, {"weight": weight} | dict.fromkeys(counted, 0))
    for name, more in counted.items():
        row[name] += more


def occurrences(document_id: str, weight: float) -> int:
    """floor(weight), and once more for the share of documents that the rest of the weight names."""
    whole = int(weight)
    return whole + (drawn("weight", document_id) < weight - whole)
