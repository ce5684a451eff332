from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from minimind.shards.reader import ShardReader, token_bytes, vocabulary_size
from minimind.shards.writer import token_dtype, write_shard
from minimind.tokenizer.bpe import load_tokenizer, token_lengths
from minimind.tokenizer.encoding import TokenizedDocument

SPLITS = ["train", "holdout"]


def mapped_ranges(folder):
    """Address ranges of the files of a folder that are mapped into this process."""
    with open("/proc/self/maps") as maps:
        lines = [line.split() for line in maps if str(folder) in line]
    return [tuple(int(end, 16) for end in line[0].split("-")) for line in lines]


@pytest.mark.parametrize("split", SPLITS)
def test_every_document_comes_back_as_it_was_encoded(cleaning, tokenizer_manifest, shards_manifest, split):
    reader = ShardReader(shards_manifest.path, split)
    tokenizer = load_tokenizer(tokenizer_manifest.path)
    rows = pq.read_table(cleaning.file(f"{split}.parquet")).to_pylist()
    assert reader.documents == len(rows)
    assert reader.document_ids == [row["document_id"] for row in rows]
    assert reader.sources == [row["source"] for row in rows]
    assert reader.text_bytes.tolist() == [len(row["text"].encode()) for row in rows]
    for number, row in enumerate(rows):
        tokens = reader.document(number)
        assert tokens.tolist() == [0, *tokenizer.encode(row["text"]).ids]
        assert tokenizer.decode(tokens[1:].tolist(), skip_special_tokens=False) == row["text"]


@pytest.mark.parametrize("split", SPLITS)
def test_bytes_of_a_documents_tokens_add_up_to_its_text(shards_manifest, split):
    reader = ShardReader(shards_manifest.path, split)
    lengths = token_bytes(shards_manifest.path)
    sums = [lengths[reader.document(number)].sum() for number in range(reader.documents)]
    assert sums == reader.text_bytes.tolist()


def test_flat_and_offsets_describe_the_same_documents(shards_manifest):
    reader = ShardReader(shards_manifest.path, "train")
    assert reader.files > 3
    number = 0
    for file in range(reader.files):
        flat, offsets = reader.flat(file), reader.offsets(file)
        assert (offsets[0], offsets[-1]) == (0, len(flat))
        for start, end in pairwise(offsets):
            assert flat[start] == 0
            assert not (flat[start + 1 : end] < 3).any()
            np.testing.assert_array_equal(flat[start:end], reader.document(number))
            number += 1
    assert number == reader.documents
    assert sum(len(reader.flat(file)) for file in range(reader.files)) == reader.tokens


def test_token_arrays_lie_in_the_mapped_files(shards_manifest):
    before = pa.total_allocated_bytes()
    reader = ShardReader(shards_manifest.path, "train")
    arrays = [reader.flat(file) for file in range(reader.files)] + [reader.offsets(0), reader.document(3)]
    ranges = mapped_ranges(shards_manifest.path)
    for array in arrays:
        address = array.__array_interface__["data"][0]
        assert any(start <= address and address + array.nbytes <= end for start, end in ranges)
        assert not array.flags.owndata
        assert not array.flags.writeable
    assert pa.total_allocated_bytes() - before < 10_000  # the footers' few bytes, no tokens


def test_arrays_stay_valid_without_the_reader(shards_manifest):
    flat = ShardReader(shards_manifest.path, "train").flat(0)
    expected = flat.tolist()
    assert flat.sum() == sum(expected)


def test_tokens_take_two_bytes_where_the_vocabulary_allows(shards_manifest, tmp_path):
    assert ShardReader(shards_manifest.path, "train").flat(0).dtype == np.uint16
    assert (token_dtype(65_536), token_dtype(65_537)) == (np.uint16, np.uint32)
    tokens = np.array([0, 65_536, 7], np.uint32)
    write_shard(tmp_path / "train-00000.arrow", [TokenizedDocument("a/1", "a", 5, tokens)], vocabulary_size=70_000)
    wide = ShardReader(tmp_path, "train")
    assert wide.flat(0).dtype == np.uint32
    assert wide.document(0).tolist() == tokens.tolist()


def test_token_bytes_and_vocabulary_size_are_the_tokenizers(tokenizer_manifest, shards_manifest):
    lengths = token_bytes(shards_manifest.path)
    assert lengths.dtype == np.int32
    assert lengths.tolist() == token_lengths(load_tokenizer(tokenizer_manifest.path)).tolist()
    assert vocabulary_size(shards_manifest.path) == 500


def test_folder_without_shards_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder of shards"):
        ShardReader(tmp_path, "train")


def test_document_number_out_of_range_is_refused(shards_manifest):
    reader = ShardReader(shards_manifest.path, "holdout")
    for number in (-1, reader.documents):
        with pytest.raises(IndexError, match=f"document {number} of {reader.documents}"):
            reader.document(number)


def test_reader_imports_nothing_beyond_numpy_and_pyarrow():
    import subprocess
    import sys

    heavy = "{'tokenizers', 'tiktoken', 'torch', 'pydantic', 'yaml', 'duckdb'} & set(sys.modules)"
    code = f"import sys, minimind.shards.reader; sys.exit(str({heavy} or '') or 0)"
    subprocess.run([sys.executable, "-c", code], check=True)
