"""Which document goes into which shard file."""

from collections.abc import Iterable, Iterator

from minimind.tokenizer.encoding import TokenizedDocument


def pack(documents: Iterable[TokenizedDocument], tokens_per_shard: int) -> Iterator[list[TokenizedDocument]]:
    """The documents in their order, in runs of at most `tokens_per_shard` tokens.

    No document is split; one that is longer than a shard has a shard to itself.
    """
    shard: list[TokenizedDocument] = []
    tokens = 0
    for document in documents:
        if shard and tokens + len(document.tokens) > tokens_per_shard:
            yield shard
            shard, tokens = [], 0
        shard.append(document)
        tokens += len(document.tokens)
    if shard:
        yield shard
