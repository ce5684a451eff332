import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minimind.shards.packing import pack
from minimind.tokenizer.encoding import TokenizedDocument


def documents_of(lengths):
    return [TokenizedDocument(f"a/{n}", "a", 1, np.zeros(length, np.uint32)) for n, length in enumerate(lengths)]


def packed_lengths(lengths, tokens_per_shard):
    return [[len(document.tokens) for document in shard] for shard in pack(documents_of(lengths), tokens_per_shard)]


def test_new_shard_begins_where_the_next_document_would_not_fit():
    assert packed_lengths([4, 6, 1, 9, 10, 3], 10) == [[4, 6], [1, 9], [10], [3]]


def test_document_longer_than_a_shard_stays_whole_and_alone():
    assert packed_lengths([3, 25, 3], 10) == [[3], [25], [3]]


@given(st.lists(st.integers(1, 30), max_size=40), st.integers(1, 50))
def test_documents_keep_their_order_and_shards_their_limit(lengths, limit):
    shards = packed_lengths(lengths, limit)
    assert [length for shard in shards for length in shard] == lengths
    assert all(sum(shard) <= limit or len(shard) == 1 for shard in shards)
