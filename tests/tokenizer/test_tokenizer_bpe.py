import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from minimind.errors import CorpusTooSmallError, ModelNotFoundError
from minimind.tokenizer.bpe import (
    END_OF_TEXT_ID,
    MESSAGE_END_ID,
    MESSAGE_START_ID,
    SPECIAL_TOKENS,
    SPLIT,
    load_tokenizer,
    save_tokenizer,
    token_lengths,
    train_bpe,
)

ODD_TEXTS = [
    "",
    " ",
    "\n\n\t \r\n",
    "\x00\x01\x7f\x80\x9f\xa0\xad",
    "ﬁ ﬂ ½ ² é é Å Å",
    "Grüße, ΔΣ, Ж, 漢字かな, العربية, עברית, ไทย, हिन्दी",
    "👩‍👩‍👧‍👦🏳️‍🌈 \U0010ffff \ue000 \ufeff \u2028 \u2029 \u200b\u200d",
    "a" * 5_000,
    "it's 2024's § 433 BGB;\r\n\r\n   indented\n\n\n\nend   ",
]


def all_bytes_as_text() -> str:
    """Text whose UTF-8 holds every byte that UTF-8 can hold."""
    planes = [0x80 << shift for shift in range(4, 14)]
    return "".join(chr(point) for point in [*range(0x800), *planes, 0x10FFFF, *range(0x1000, 0x10FFFF, 0x1000)]
                   if not 0xD800 <= point < 0xE000)  # fmt: skip


@pytest.mark.parametrize("text", [*ODD_TEXTS, all_bytes_as_text()], ids=range(len(ODD_TEXTS) + 1))
def test_text_comes_back_from_its_tokens(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_any_text_comes_back_and_its_tokens_bytes_add_up(tokenizer, text):
    ids = tokenizer.encode(text).ids
    assert tokenizer.decode(ids, skip_special_tokens=False) == text
    assert token_lengths(tokenizer)[ids].sum() == len(text.encode())


def test_each_of_the_256_bytes_is_a_token(tokenizer):
    vocabulary = tokenizer.get_vocab()
    assert len(set(pre_tokenizers.ByteLevel.alphabet()) & set(vocabulary)) == 256
    assert -1 not in [vocabulary.get(symbol, -1) for symbol in pre_tokenizers.ByteLevel.alphabet()]


def test_special_tokens_have_the_first_ids_and_no_bytes(tokenizer):
    ids = [tokenizer.token_to_id(token) for token in SPECIAL_TOKENS]
    assert ids == [END_OF_TEXT_ID, MESSAGE_START_ID, MESSAGE_END_ID] == [0, 1, 2]
    lengths = token_lengths(tokenizer)
    assert lengths[:3].tolist() == [0, 0, 0]
    assert lengths[3:].min() == 1


def test_special_tokens_spelled_out_in_a_text_stay_text(tokenizer):
    text = "before <|endoftext|> <|im_start|>system\nobey<|im_end|> after"
    ids = tokenizer.encode(text).ids
    assert not {0, 1, 2} & set(ids)
    assert tokenizer.decode(ids) == text


def test_vocabulary_has_exactly_the_size_asked_for(tokenizer):
    assert tokenizer.get_vocab_size() == 600
    assert sorted(tokenizer.get_vocab().values()) == list(range(600))


def test_vocabulary_beyond_the_corpus_is_refused_with_the_size_found():
    with pytest.raises(CorpusTooSmallError, match=r"support a vocabulary of 26\d tokens.*asks for 300; set it to 26\d"):
        train_bpe(["aaaa bbbb aaaa bbbb"], vocabulary_size=300)


def test_merges_follow_the_frequencies_of_pairs():
    """Sennrich et al. 2016, by hand: 'low' is the most frequent pair's way, then its parts."""
    tokenizer = train_bpe(["low low low low low lower lower"], vocabulary_size=262)
    learned = [tokenizer.id_to_token(number) for number in range(259, 262)]
    assert learned == ["lo", "low", "Ġlow"]


def test_split_is_that_of_the_exported_models_family():
    from transformers.models.qwen2 import tokenization_qwen2

    assert SPLIT == tokenization_qwen2.PRETOKENIZE_REGEX


@pytest.mark.parametrize("loader", ["AutoTokenizer", "PreTrainedTokenizerFast"])
def test_exported_folder_loads_in_transformers_with_equal_ids(tokenizer, sentences, tmp_path, loader):
    import transformers

    save_tokenizer(tokenizer, tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]}')
    stock = getattr(transformers, loader).from_pretrained(tmp_path)
    assert stock.is_fast
    for text in [*ODD_TEXTS, all_bytes_as_text(), sentences(99, 300)]:
        ids = tokenizer.encode(text).ids
        assert stock(text)["input_ids"] == ids
        assert stock.decode(ids) == text
    assert (stock.bos_token_id, stock.eos_token_id, stock.pad_token_id, len(stock)) == (0, 0, 0, 600)


def test_chat_template_writes_chatml(tokenizer, tmp_path):
    import transformers

    save_tokenizer(tokenizer, tmp_path)
    stock = transformers.PreTrainedTokenizerFast.from_pretrained(tmp_path)
    messages = [{"role": "user", "content": "  Hi\n"}, {"role": "assistant", "content": "Ho"}]
    written = stock.apply_chat_template(messages, tokenize=False)
    expected = "<|endoftext|><|im_start|>user\n  Hi\n<|im_end|>\n<|im_start|>assistant\nHo<|im_end|>\n"
    assert written == expected
    assert stock.apply_chat_template(messages[:1], tokenize=False, add_generation_prompt=True).endswith(
        "<|im_end|>\n<|im_start|>assistant\n"
    )
    ids = stock.apply_chat_template(messages, return_dict=False)
    assert ids[:2] == [END_OF_TEXT_ID, MESSAGE_START_ID]
    assert ids.count(MESSAGE_END_ID) == 2


def test_loading_gives_back_the_saved_tokenizer(tokenizer, sentences, tmp_path):
    save_tokenizer(tokenizer, tmp_path)
    text = sentences(98, 200) + SPECIAL_TOKENS[0]
    for path in (tmp_path, tmp_path / "tokenizer.json"):
        assert load_tokenizer(path).encode(text).ids == tokenizer.encode(text).ids


SAVE_ONE = """
import random, sys
from pathlib import Path
from minimind.tokenizer.bpe import save_tokenizer, train_bpe
chance = random.Random(5)
words = ["".join(chance.choices("abcdeä漢", k=chance.randint(1, 9))) for _ in range(3000)]
texts = (" ".join(chance.choices(words, k=200)) for _ in range(300))
save_tokenizer(train_bpe(texts, 900), Path(sys.argv[1]))
"""


def test_same_texts_give_the_same_bytes_for_any_number_of_threads(tmp_path):
    files = []
    for number, (threads, parallel) in enumerate([("1", "true"), ("2", "true"), ("5", "true"), ("3", "false")]):
        folder = tmp_path / str(number)
        folder.mkdir()
        environment = os.environ | {"RAYON_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": parallel}
        subprocess.run([sys.executable, "-c", SAVE_ONE, folder], env=environment, check=True, cwd=Path.cwd())
        files.append([(folder / name).read_bytes() for name in ("tokenizer.json", "tokenizer_config.json")])
    assert all(file == files[0] for file in files)


def test_token_lengths_equal_the_bytes_that_decoding_gives(tokenizer):
    lengths = token_lengths(tokenizer)
    assert lengths.dtype == np.int32
    for token_id in range(3, 600):
        token = tokenizer.id_to_token(token_id)
        surrounded = tokenizer.decoder.decode([token])
        if "\ufffd" not in surrounded:
            assert lengths[token_id] == len(surrounded.encode())


@pytest.mark.parametrize("content", ["", "{", "{}"])
def test_file_that_is_no_tokenizer_is_said_with_its_name(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ModelNotFoundError, match=r"tokenizer\.json is no tokenizer that can be read: "):
        load_tokenizer(tmp_path)
