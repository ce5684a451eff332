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
from minimind.model.hugging_face import export_model, load_model
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
    with pytest.raises(ModelNotFoundError, match="no model that this project exported"):
        load_model(tmp_path)


def test_exported_files_are_as_readable_as_their_neighbours(exported):
    modes = {path.name: path.stat().st_mode for path in exported.iterdir()}
    assert len(set(modes.values())) == 1, modes
