import lzma
import random

import numpy as np
import pytest
import zstandard

from minimind.evaluation import references
from minimind.evaluation.references import make_dictionary, xz_bytes, zstd_bytes


@pytest.fixture(scope="module")
def texts(sentences):
    lengths = [0, 1, 3, 10, 50, 200, 1_000, 5_000, 20_000]
    noise = random.Random(1).randbytes(70_000)
    return [sentences(n, length).encode() for n, length in enumerate(lengths)] + [noise, b"a" * 200_000]


@pytest.fixture
def train(make_cleaning, sentences):
    texts = {f"law/{number:03}": sentences(1000 + number, 2_000) for number in range(60)}
    return make_cleaning(texts, {"law/h": "x"}).file("train.parquet")


def test_xz_sizes_are_those_of_xz_9(texts):
    """`xz -9` is the .xz container with CRC64 and preset 9; a dictionary as large as the text changes no size."""
    direct = [len(lzma.compress(text, format=lzma.FORMAT_XZ, preset=9)) for text in texts]
    assert xz_bytes(texts).tolist() == direct


def test_xz_output_unpacks_to_the_text(texts):
    assert [lzma.decompress(references._xz(text)) for text in texts] == texts


def test_zstd_sizes_are_those_of_zstd_19_with_the_dictionary(texts, train):
    dictionary = make_dictionary(train)
    direct = []
    for text in texts:
        packer = zstandard.ZstdCompressor(
            level=19, dict_data=dictionary.data, write_checksum=False, write_dict_id=False
        )
        packed = packer.compress(text)
        assert zstandard.ZstdDecompressor(dict_data=dictionary.data).decompress(packed) == text
        direct.append(len(packed))
    assert zstd_bytes(texts, dictionary).tolist() == direct


def test_dictionary_is_trained_and_pays(texts, train):
    dictionary = make_dictionary(train)
    assert "trained on training documents" in dictionary.kind
    assert dictionary.sample_documents == 60
    assert dictionary.data.dict_id() == 1
    plain = [len(zstandard.ZstdCompressor(level=19, write_checksum=False).compress(text)) for text in texts]
    assert zstd_bytes(texts, dictionary)[4] < 0.8 * plain[4]


def test_dictionary_is_the_same_every_time_and_sampled_where_there_is_much_text(train, monkeypatch):
    assert make_dictionary(train).data.as_bytes() == make_dictionary(train).data.as_bytes()
    monkeypatch.setattr(references, "DICTIONARY_SAMPLE_BYTES", 200_000)
    sampled = make_dictionary(train)
    assert 100_000 < sampled.sample_bytes <= 200_000
    assert sampled.sample_documents < 60


@pytest.mark.parametrize("training_texts", [{"a/1": "x"}, {"a/1": "tiny"}, {f"a/{n}": f"text {n}" for n in range(9)}])
def test_too_little_text_for_a_dictionary_is_said_and_used_as_it_is(make_cleaning, training_texts):
    train = make_cleaning(training_texts, {"a/h": "x"}).file("train.parquet")
    dictionary = make_dictionary(train)
    assert "too little to train one" in dictionary.kind
    assert sorted(dictionary.data.as_bytes()) == sorted("".join(training_texts.values()).encode())
    (size,) = zstd_bytes([b"some text here"], dictionary)
    assert size > 0


def test_sizes_do_not_depend_on_the_number_of_threads(texts, train, monkeypatch):
    dictionary = make_dictionary(train)
    several = xz_bytes(texts), zstd_bytes(texts, dictionary)
    monkeypatch.setattr(references, "MAX_THREADS", 1)
    np.testing.assert_array_equal(several, (xz_bytes(texts), zstd_bytes(texts, dictionary)))
