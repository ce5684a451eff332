import json
import shutil

import pytest
from tokenizers import AddedToken, Tokenizer, models, normalizers

from minimind.config import TokenizerConfig
from minimind.errors import ConfigError
from minimind.tokenizer.bpe import save_tokenizer
from minimind.tokenizer.build import KEPT_INPUT, TokenizerInputs, build

SECTION = TokenizerConfig(keep="champion", vocabulary_size=600, sample_bytes=1_000)


@pytest.fixture
def model(tokenizer, tmp_path):
    """A model's folder, as far as a tokenizer goes."""
    folder = tmp_path / "model"
    folder.mkdir()
    save_tokenizer(tokenizer, folder)
    return folder


@pytest.fixture
def cleaning(make_cleaning, sentences):
    return make_cleaning({"law/1": sentences(1, 50)}, {"law/2": sentences(2, 400)})


def test_kept_tokenizer_is_the_same_file_whatever_the_training_documents(
    cleaning, model, store, make_cleaning, sentences
):
    kept = build(SECTION, TokenizerInputs(cleaning, model), store)
    assert kept.file("tokenizer.json").read_bytes() == (model / "tokenizer.json").read_bytes()
    assert kept.file("tokenizer_config.json").read_bytes() == (model / "tokenizer_config.json").read_bytes()
    assert kept.counts["sample_documents"] == 0
    assert kept.counts["holdout_bytes_per_token"] > 1
    assert set(kept.inputs) == {KEPT_INPUT, "holdout.parquet"}
    grown = make_cleaning({"law/1": sentences(1, 50), "law/3": sentences(3, 50)}, {"law/2": sentences(2, 400)})
    other_place = shutil.copytree(model, store.root / "elsewhere")
    words = SECTION.model_copy(update={"keep": str(other_place), "sample_bytes": 2_000})
    assert build(words, TokenizerInputs(grown, other_place), store).fingerprint == kept.fingerprint


def test_other_tokenizer_is_another_build(cleaning, model, store):
    first = build(SECTION, TokenizerInputs(cleaning, model), store)
    (model / "tokenizer.json").write_text((model / "tokenizer.json").read_text() + "\n")
    assert build(SECTION, TokenizerInputs(cleaning, model), store).fingerprint != first.fingerprint


def test_nothing_to_keep_is_the_tokenizer_that_is_learned(cleaning, store):
    learned = TokenizerConfig(keep=None, vocabulary_size=300, sample_bytes=1_000)
    first = build(learned, TokenizerInputs(cleaning), store)
    assert build(learned.model_copy(update={"keep": "champion"}), TokenizerInputs(cleaning), store).reused
    assert "train.parquet" in first.inputs


def without_specials(tokenizer):
    tree = json.loads(tokenizer.to_str())
    vocabulary = tree["model"]["vocab"]
    tree["added_tokens"] = []
    vocabulary["other"] = vocabulary.pop("<|im_end|>")
    return Tokenizer.from_str(json.dumps(tree))


def with_normalizer(tokenizer):
    tokenizer.normalizer = normalizers.Lowercase()
    return tokenizer


def with_added_token(tokenizer):
    tokenizer.add_tokens([AddedToken("Ware", special=False)])
    return tokenizer


def word_level(tokenizer):
    words = {"<|endoftext|>": 0, "<|im_start|>": 1, "<|im_end|>": 2} | {
        f"w{number}": number for number in range(3, 600)
    }
    return Tokenizer(models.WordLevel(words, unk_token="w3"))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (without_specials, r"its first tokens are not <\|endoftext\|>, <\|im_start\|>, <\|im_end\|>"),
        (with_normalizer, "it does not keep every byte of a text: .* comes back changed"),
        (with_added_token, "'Ware' is an added token that is not special"),
        (with_added_token, r"it has 601 tokens with ids up to 600, and tokenizer\.vocabulary_size is 600"),
        (word_level, "it is no BPE"),
    ],
)
def test_tokenizer_that_documents_cannot_be_encoded_with_is_refused(
    cleaning, tokenizer, tmp_path, store, change, expected
):
    copy = Tokenizer.from_str(tokenizer.to_str())
    change(copy).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ConfigError, match=expected):
        build(SECTION, TokenizerInputs(cleaning, tmp_path), store)
    assert not (store.root / "tokenizer").exists()


def test_folder_without_a_tokenizer_and_a_file_that_is_none_are_refused(cleaning, tmp_path, store):
    with pytest.raises(ConfigError, match=r"has no tokenizer\.json"):
        build(SECTION, TokenizerInputs(cleaning, tmp_path), store)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"tokenizer\.json is no tokenizer"):
        build(SECTION, TokenizerInputs(cleaning, tmp_path), store)
