import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minimind.tokenizer import encoding
from minimind.tokenizer.encoding import encode_documents, pieces, read_texts, tokenized_documents


def test_documents_encode_as_if_each_stood_alone(tokenizer, sentences, monkeypatch):
    monkeypatch.setattr(encoding, "BATCH_CHARS", 3_000)
    texts = ["", "x", *(sentences(seed, 20 * seed) for seed in range(20)), " \n", "漢字"]
    encoded = list(encode_documents(tokenizer, texts))
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


def test_text_without_line_breaks_stays_whole(tokenizer):
    text = "word " * 20_000
    assert list(pieces(text)) == [text]
    (tokens,) = encode_documents(tokenizer, [text])
    assert tokens.tolist() == [0, *tokenizer.encode(text).ids]


def test_documents_come_with_their_ids_sources_and_bytes_in_order(tokenizer, make_cleaning, sentences, monkeypatch):
    monkeypatch.setattr(encoding, "ROWS_AT_ONCE", 3)
    monkeypatch.setattr(encoding, "BATCH_CHARS", 2_000)
    texts = {f"{'law' if n % 2 else 'tax'}/{n:02}": sentences(n, 10 * n) + "é" for n in range(20)}
    path = make_cleaning(texts, {"law/x": "x"}).file("train.parquet")
    documents = list(tokenized_documents(tokenizer, path))
    assert [document.document_id for document in documents] == sorted(texts)
    assert list(read_texts(path)) == [texts[key] for key in sorted(texts)]
    for document in documents:
        assert document.source == document.document_id.partition("/")[0]
        assert document.text_bytes == len(texts[document.document_id].encode())
        assert document.tokens.tolist() == [0, *tokenizer.encode(texts[document.document_id]).ids]


def test_an_unreadable_file_is_an_error_not_an_empty_list(tokenizer, tmp_path):
    (tmp_path / "train.parquet").write_bytes(b"no parquet")
    with pytest.raises(Exception, match=r"(?i)parquet"):
        list(tokenized_documents(tokenizer, tmp_path / "train.parquet"))
