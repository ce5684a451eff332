import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minimind.tokenizer import encoding
from minimind.tokenizer.encoding import (
    PIECE_CHARS,
    SAMPLE_CHARS,
    encode_documents,
    pieces,
    read_texts,
    sampled_texts,
    tokenized_documents,
    with_tokenizers,
)


def test_documents_encode_as_if_each_stood_alone(tokenizer, sentences, monkeypatch):
    monkeypatch.setattr(encoding, "PIECE_CHARS", 3_000)
    texts = ["", "x", *(sentences(seed, 20 * seed) for seed in range(20)), " \n", "漢字"]
    encoded = list(encode_documents(with_tokenizers(tokenizer), texts))
    assert [tokens.tolist() for tokens in encoded] == [[0, *tokenizer.encode(text).ids] for text in texts]
    assert {tokens.dtype for tokens in encoded} == {np.dtype(np.uint32)}


@settings(max_examples=300, deadline=None)
@given(text=st.text(alphabet="ab1.'s \t\n\r\x0b\x1c\x85\u2028\u3000\xa0é-", max_size=120), max_chars=st.integers(1, 20))
def test_cutting_a_text_leaves_its_tokens_as_they_are(tokenizer, text, max_chars):
    parts = list(pieces(text, max_chars))
    assert "".join(parts) == text
    assert [i for part in parts for i in tokenizer.encode(part).ids] == tokenizer.encode(text).ids


def test_long_texts_are_cut_near_the_size_asked_for(sentences):
    text = sentences(1, 5_000)
    sizes = [len(piece) for piece in pieces(text, 1_000)]
    assert max(sizes) < 1_500
    assert len(sizes) > 10


def test_text_without_line_breaks_is_cut_at_blanks(tokenizer):
    text = "word " * 50_000
    sizes = [len(piece) for piece in pieces(text)]
    assert sum(sizes) == len(text)
    assert max(sizes) < PIECE_CHARS + 10
    (tokens,) = encode_documents(with_tokenizers(tokenizer), [text])
    assert tokens.tolist() == [0, *tokenizer.encode(text).ids]


def test_text_without_line_breaks_and_blanks_stays_whole():
    text = "word," * 50_000
    assert list(pieces(text)) == [text]


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_order_does_not_depend_on_threads(tokenizer, sentences, threads, monkeypatch):
    monkeypatch.setattr(encoding, "PIECE_CHARS", 500)
    texts = [sentences(seed, 1 + 37 * (seed % 11)) for seed in range(60)]
    encoded = list(encode_documents(with_tokenizers(tokenizer), texts, threads))
    assert [tokens.tolist() for tokens in encoded] == [[0, *tokenizer.encode(text).ids] for text in texts]


def test_an_error_while_encoding_reaches_the_caller():
    def broken(texts):
        raise RuntimeError("no encoding today")

    with pytest.raises(RuntimeError, match="no encoding today"):
        list(encode_documents(broken, ["a"] * 100))


def test_sample_comes_from_all_over_the_file(tmp_path):
    path = tmp_path / "train.parquet"
    pq.write_table(pa.table({"text": [f"{n:04} {'x' * 9_000}" for n in range(1_000)]}), path, row_group_size=20)
    sample = list(sampled_texts(path))
    assert sample == list(sampled_texts(path))
    assert {len(text) for text in sample} == {SAMPLE_CHARS}
    numbers = [int(text[:4]) for text in sample]
    assert len(set(numbers)) == len(numbers) == 128
    assert {number // 100 for number in numbers} == set(range(10))


def test_documents_come_with_their_ids_sources_and_bytes_in_order(tokenizer, make_cleaning, sentences, monkeypatch):
    monkeypatch.setattr(encoding, "ROWS_AT_ONCE", 3)
    monkeypatch.setattr(encoding, "PIECE_CHARS", 2_000)
    texts = {f"{'law' if n % 2 else 'tax'}/{n:02}": sentences(n, 10 * n) + "é" for n in range(20)}
    path = make_cleaning(texts, {"law/x": "x"}).file("train.parquet")
    documents = list(tokenized_documents(with_tokenizers(tokenizer), path))
    assert [document.document_id for document in documents] == sorted(texts)
    assert list(read_texts(path)) == [texts[key] for key in sorted(texts)]
    for document in documents:
        assert document.source == document.document_id.partition("/")[0]
        assert document.text_bytes == len(texts[document.document_id].encode())
        assert document.tokens.tolist() == [0, *tokenizer.encode(texts[document.document_id]).ids]


def test_an_unreadable_file_is_an_error_not_an_empty_list(tokenizer, tmp_path):
    (tmp_path / "train.parquet").write_bytes(b"no parquet")
    with pytest.raises(Exception, match=r"(?i)parquet"):
        list(tokenized_documents(with_tokenizers(tokenizer), tmp_path / "train.parquet"))
