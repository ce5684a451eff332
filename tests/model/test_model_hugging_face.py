"""transformers is imported in here alone: it takes seconds."""

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from minimind.errors import ModelNotFoundError
from minimind.model.bits_per_byte import document_nats
from minimind.model.generate import stream
from minimind.model.hugging_face import check_tensors, export_model, load_model, load_weights
from minimind.model.transformer import Transformer


@pytest.fixture(scope="module")
def exported(small_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    export_model(small_model, folder)
    return folder


@pytest.fixture(scope="module")
def stock_model(exported):
    from transformers import AutoModelForCausalLM

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        model, info = AutoModelForCausalLM.from_pretrained(exported, output_loading_info=True)
    assert type(model).__name__ == "Qwen3ForCausalLM"
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    return model.eval()


def test_logits_equal_those_of_stock_transformers(small_model, stock_model):
    tokens = torch.randint(0, 97, (3, 24), generator=torch.Generator().manual_seed(4))
    with torch.inference_mode():
        ours, theirs = small_model(tokens), stock_model(tokens).logits
    assert theirs.dtype == torch.float32
    assert (ours - theirs).abs().max() < 1e-4
    assert ours.std() > 0.5  # something to compare


def test_greedy_ids_equal_those_of_stock_transformers(small_model, stock_model):
    prompt = [0, 17, 45]
    theirs = stock_model.generate(
        torch.tensor([prompt]), attention_mask=torch.ones(1, 3, dtype=torch.int64), max_new_tokens=21, do_sample=False
    )[0].tolist()
    ours = stream(small_model, prompt, max_new_tokens=21, temperature=0.0, top_p=1.0, seed=0)
    assert [token for token in theirs if token not in (0, 2)] == [17, 45, *ours]


def test_loss_equals_that_of_stock_transformers(small_model, stock_model):
    tokens = torch.randint(3, 97, (1, 24), generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        theirs = stock_model(tokens, labels=tokens).loss.item()
    ours = document_nats(small_model, [tokens[0].numpy().astype(np.uint16)], window_tokens=24, batch_tokens=24)
    assert ours[0] / 23 == pytest.approx(theirs, rel=1e-5)


def test_reloaded_model_is_the_exported_one(small_model, exported):
    loaded = load_model(exported)
    assert loaded.config == small_model.config
    assert not loaded.training
    for name, tensor in small_model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)


def test_export_gives_the_same_bytes_each_time(small_model, exported, tmp_path):
    export_model(small_model, tmp_path)
    for path in sorted(exported.iterdir()):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


FOLDED = [
    {"embedding_norm": True},
    {"residual_scalars": True},
    {"embedding_norm": True, "residual_scalars": True},
    {"tied_embeddings": False},
    {"tied_embeddings": False, "embedding_norm": True},
]


@pytest.mark.parametrize("additions", FOLDED, ids=lambda additions: "+".join(additions))
def test_additions_fold_into_stock_transformers(small_model, additions, tmp_path):
    from transformers import AutoModelForCausalLM

    model = Transformer(replace(small_model.config, **additions))
    generator = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(1.0 if parameter.dim() == 1 else 0.0, 0.3, generator=generator)
    export_model(model, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        stock, info = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    tokens = torch.randint(0, 97, (3, 24), generator=generator)
    with torch.inference_mode():
        ours, theirs, reloaded = model(tokens), stock.eval()(tokens).logits, load_model(tmp_path)(tokens)
    assert ours.std() > 0.5
    assert (ours - theirs).abs().max() < 1e-4
    assert (ours - reloaded).abs().max() < 1e-4


@pytest.mark.parametrize("additions", FOLDED[:3], ids=lambda additions: "+".join(additions))
def test_exported_weights_go_back_into_a_model_with_the_additions(small_model, additions, tmp_path):
    torch.manual_seed(7)
    model, again = (Transformer(replace(small_model.config, **additions)) for _ in range(2))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(1.0 if parameter.dim() == 1 else 0.0, 0.3)
    export_model(model, tmp_path)
    load_weights(again, tmp_path)
    tokens = torch.randint(0, 97, (2, 24))
    with torch.inference_mode():
        assert (model(tokens) - again(tokens)).abs().max() < 1e-4
    assert torch.equal(model.embed_tokens.weight, again.embed_tokens.weight)


def test_output_matrix_that_no_embedding_norm_explains_is_refused(small_model, tmp_path):
    own = Transformer(replace(small_model.config, tied_embeddings=False))
    own.initialize(torch.Generator().manual_seed(8))
    export_model(own, tmp_path)
    with pytest.raises(ModelNotFoundError, match="trained without a norm behind its embedding"):
        load_weights(Transformer(replace(small_model.config, embedding_norm=True)), tmp_path)
    with pytest.raises(ModelNotFoundError, match="an output matrix of its own"):
        load_weights(Transformer(small_model.config), tmp_path)


def test_folder_that_transformers_wrote_loads_in_several_files_and_other_precision(tmp_path):
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=97, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, head_dim=8,
        intermediate_size=24, max_position_embeddings=40, rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        rms_norm_eps=1e-5, tie_word_embeddings=True, dtype=torch.bfloat16,
    )  # fmt: skip
    torch.manual_seed(9)
    stock = Qwen3ForCausalLM(config).to(torch.bfloat16)
    stock.save_pretrained(tmp_path, max_shard_size="4KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    check_tensors(tmp_path)
    model = load_model(tmp_path)
    assert (model.config.rope_theta, model.config.norm_epsilon, model.config.max_positions) == (1e6, 1e-5, 40)
    tokens = torch.randint(0, 97, (1, 24))
    with torch.inference_mode():
        assert (model(tokens) - stock.float()(tokens).logits).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"num_hidden_layers": 3}, r"layers\.2\.input_layernorm\.weight is missing; .* and 8 more"),
        ({"num_hidden_layers": 1}, r"layers\.1\.input_layernorm\.weight is unknown"),
        ({"intermediate_size": 41}, r"layers\.0\.mlp\.down_proj\.weight is \[32, 40\], not \[32, 41\]"),
        ({"attention_bias": True}, "attention_bias is True, which is not built"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1}}, "rope_type is 'yarn', which is not built"),
        ({"architectures": ["LlamaForCausalLM"]}, r"architectures is \['LlamaForCausalLM'\]"),
    ],
)
def test_tensors_that_are_not_those_of_the_config_are_named_without_reading_them(exported, tmp_path, change, expected):
    (tmp_path / "model.safetensors").symlink_to(exported / "model.safetensors")
    values = json.loads((exported / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(values | change))
    with pytest.raises(ModelNotFoundError, match=expected):
        check_tensors(tmp_path)


def test_pickled_weights_are_never_looked_at(exported, tmp_path):
    (tmp_path / "config.json").symlink_to(exported / "config.json")
    (tmp_path / "pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(ModelNotFoundError, match=r"model\.safetensors is missing"):
        load_model(tmp_path)


def test_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ModelNotFoundError, match="is no exported model"):
        load_model(tmp_path / "nowhere")
    with pytest.raises(ModelNotFoundError, match=r"config\.json is missing"):
        load_model(tmp_path)


def test_foreign_or_damaged_model_is_refused(exported, tmp_path):
    values = json.loads((exported / "config.json").read_text())
    (tmp_path / "model.safetensors").write_bytes((exported / "model.safetensors").read_bytes())
    (tmp_path / "config.json").write_text(json.dumps(values | {"hidden_act": "gelu"}))
    with pytest.raises(ModelNotFoundError, match="hidden_act is 'gelu', not 'silu'"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(values | {"num_hidden_layers": 3}))
    with pytest.raises(ModelNotFoundError, match="Missing key"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(values))
    (tmp_path / "model.safetensors").write_bytes(b"\x00" * 100)
    with pytest.raises(ModelNotFoundError, match="no model in the Qwen3 format"):
        load_model(tmp_path)


def test_exported_files_are_as_readable_as_their_neighbours(exported):
    modes = {path.name: path.stat().st_mode for path in exported.iterdir()}
    assert len(set(modes.values())) == 1, modes
