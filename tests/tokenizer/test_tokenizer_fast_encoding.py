import json
import logging

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, pre_tokenizers

from minimind.tokenizer import fast_encoding
from minimind.tokenizer.bpe import train_bpe
from minimind.tokenizer.encoding import with_tokenizers
from minimind.tokenizer.fast_encoding import (
    HARD_TEXTS,
    byte_symbols,
    choose_encoding,
    mergeable_ranks,
    order_of_merges_lost,
    with_tiktoken,
)

CODE_POINTS = [chr(point) for point in range(0x110000) if not 0xD800 <= point < 0xE000]


@pytest.fixture(scope="session")
def odd_tokenizer() -> Tokenizer:
    """Learned from blanks, marks, digits and scripts, so that wrong cuts between them would show in the ids."""
    trained = train_bpe([*HARD_TEXTS, "aaaa abab  \n\n 'll 'S é́ 漢字 --__--"] * 3, vocabulary_size=650)
    trained.encode_special_tokens = True
    return trained


def assert_same_ids(tokenizer: Tokenizer, texts: list[str]) -> None:
    expected, found = with_tokenizers(tokenizer)(texts), with_tiktoken(tokenizer)(texts)
    assert [ids.tolist() for ids in found] == [ids.tolist() for ids in expected]
    assert {ids.dtype for ids in found} == {ids.dtype for ids in expected}


@settings(max_examples=300, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_any_text_has_the_same_ids(tokenizer, odd_tokenizer, text):
    assert_same_ids(tokenizer, [text])
    assert_same_ids(odd_tokenizer, [text])


@settings(max_examples=300, deadline=None)
@given(text=st.text(alphabet="aabs'ſSLl1 ١\t\n\r\x0b\x1c\x85\u2028\u3000\xa0é\u0301-_§漢<|>", max_size=80))
def test_texts_of_what_the_split_looks_at_have_the_same_ids(tokenizer, odd_tokenizer, text):
    assert_same_ids(tokenizer, [text])
    assert_same_ids(odd_tokenizer, [text])


@pytest.mark.parametrize("kind", [r"\p{L}", r"\p{N}", r"\s", r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"])
def test_both_engines_see_the_same_kind_in_every_character(kind):
    """The two carry Unicode tables of their own; a new version of one may know letters that the other does not."""
    text = "".join(CODE_POINTS) if "'" not in kind else "'" + "'".join(CODE_POINTS[:0x30000])
    only = pre_tokenizers.Split(Regex(kind), behavior="removed", invert=True)
    expected = "".join(piece for piece, _ in only.pre_tokenize_str(text))
    encoding = tiktoken.Encoding(
        "kind", pat_str=kind, mergeable_ranks={bytes([byte]): byte for byte in range(256)}, special_tokens={}
    )
    assert bytes(encoding.encode_ordinary(text)).decode() == expected
    assert expected


@pytest.mark.parametrize("text", [" " * 1_200_000, " " * 1_200_000 + "x", "a" * 300_000, "^" * 300_000, "\n" * 300_000])
def test_endless_runs_have_the_same_ids(tokenizer, text):
    assert_same_ids(tokenizer, ["before", text, "after"])


def test_what_tiktoken_gives_up_on_is_encoded_by_tokenizers(tokenizer, caplog):
    with caplog.at_level(logging.INFO, "minimind"):
        assert_same_ids(tokenizer, [" " * 1_200_000])
    assert "tiktoken does not encode 1200000 characters" in caplog.text


def test_bytes_and_their_characters_are_those_of_the_byte_level_alphabet():
    symbols = byte_symbols()
    assert set(symbols) == set(pre_tokenizers.ByteLevel.alphabet())
    assert sorted(symbols.values()) == list(range(256))
    split = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    text = "".join(CODE_POINTS[:0x3000])
    (piece, _), *_ = split.pre_tokenize_str(text)
    assert bytes(symbols[symbol] for symbol in piece) == text.encode()


def test_ranks_are_the_ids_of_all_but_special_tokens(tokenizer):
    ranks = mergeable_ranks(tokenizer)
    assert sorted(ranks.values()) == list(range(3, 600))
    assert sum(len(token) == 1 for token in ranks) == 256


def test_trained_tokenizer_is_used_through_tiktoken(tokenizer, sentences, caplog):
    chosen = choose_encoding(tokenizer, [sentences(7, 100), sentences(8, 100)])
    assert chosen.details["library"] == "tiktoken"
    assert chosen.details["difference"] is None
    assert chosen.details["compared_texts"] == len(HARD_TEXTS) + 2
    assert not caplog.records
    assert chosen.encode(["a b"])[0].tolist() == tokenizer.encode("a b").ids


def other_split(tokenizer: Tokenizer, pattern: str) -> Tokenizer:
    other = Tokenizer.from_str(tokenizer.to_str())
    other.encode_special_tokens = True
    other.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return other


@pytest.mark.parametrize("pattern", [r"\p{N}{1,3}|[^\p{N}]", r"\S+|\s+", r"[\s\S]"])
def test_another_split_is_noticed_and_tokenizers_used(tokenizer, sentences, pattern, caplog):
    other = other_split(tokenizer, pattern)
    chosen = choose_encoding(other, [])
    assert chosen.details["library"] == "tokenizers"
    assert "with tokenizers and" in chosen.details["difference"]
    assert "tiktoken gives other tokens than tokenizers" in caplog.text
    text = sentences(3, 100)
    assert chosen.encode([text])[0].tolist() == other.encode(text).ids


def test_difference_in_the_sample_alone_is_noticed(tokenizer, monkeypatch):
    monkeypatch.setattr(fast_encoding, "HARD_TEXTS", ("plain",))
    other = other_split(tokenizer, r"\p{L}+|[^\p{L}]")
    assert choose_encoding(other, ["plain"]).details["library"] == "tiktoken"
    assert choose_encoding(other, ["plain", "lan de"]).details["library"] == "tokenizers"


def changed_model(tokenizer: Tokenizer, change) -> Tokenizer:
    tree = json.loads(tokenizer.to_str())
    change(tree["model"])
    return Tokenizer.from_str(json.dumps(tree))


def test_merges_out_of_the_order_of_their_ids_are_noticed(tokenizer):
    swapped = changed_model(tokenizer, lambda model: model["merges"].reverse())
    assert "is not above all before it" in str(order_of_merges_lost(swapped))
    assert choose_encoding(swapped, []).details["library"] == "tokenizers"
    assert order_of_merges_lost(tokenizer) is None


def test_token_that_no_merge_makes_is_noticed(tokenizer):
    without_last = changed_model(tokenizer, lambda model: model["merges"].pop())
    assert "does not become itself" in str(order_of_merges_lost(without_last))
    assert choose_encoding(without_last, []).details["library"] == "tokenizers"
