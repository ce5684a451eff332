"""The exported folder, which stock `transformers`, vLLM and llama.cpp load as a `Qwen3ForCausalLM`."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from minimind.errors import ModelNotFoundError
from minimind.model.transformer import INITIAL_STD, STOP_TOKENS, ModelConfig, Transformer

PREFIX = "model."
ARCHITECTURE = "Qwen3ForCausalLM"
END_OF_TEXT = 0


def export_model(model: Transformer, folder: Path) -> None:
    """Writes config.json, generation_config.json and model.safetensors (fp32, a tied output matrix left out)."""
    folder.mkdir(parents=True, exist_ok=True)
    model = fold(model)
    tensors = {_exported(name): tensor.float().cpu().contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    _write_json(folder / "config.json", _to_qwen3(model.config))
    (folder / "model.safetensors").chmod((folder / "config.json").stat().st_mode)  # written for its owner alone
    _write_json(
        folder / "generation_config.json",
        {"bos_token_id": END_OF_TEXT, "eos_token_id": list(STOP_TOKENS), "pad_token_id": END_OF_TEXT},
    )


def load_model(folder: Path, device: str | torch.device = "cpu") -> Transformer:
    """The exported model, fp32, in evaluation mode. Raises ModelNotFoundError for a folder that holds none of ours."""
    try:
        config = _from_qwen3(json.loads((folder / "config.json").read_bytes()))
        tensors = load_file(folder / "model.safetensors")
        model = Transformer(config)
        model.load_state_dict({name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}, strict=True)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelNotFoundError(f"{folder} is no exported model: {error.filename or folder} is missing") from None
    except (ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelNotFoundError(f"{folder} is no model that this project exported: {error}") from error
    return model.to(device).eval()


def fold(model: Transformer) -> Transformer:
    """The same function of its tokens as a stock Qwen3; `model` itself if it is one. Exact but for rounding.

    A residual scalar multiplies its block's output matrix. The norm behind the embedding is computed for every token of
    the vocabulary; what comes out is the new embedding, and the old one, if it was the output matrix too, stays that.
    """
    config = model.config
    if not (config.embedding_norm or config.residual_scalars):
        return model
    tied = config.tied_embeddings and not config.embedding_norm
    folded = Transformer(replace(config, embedding_norm=False, residual_scalars=False, tied_embeddings=tied))
    tensors = {name: tensor.detach().float() for name, tensor in model.state_dict().items()}
    if not tied:
        tensors["lm_head.weight"] = model.output_matrix.detach().float()
    if config.embedding_norm:
        tensors["embed_tokens.weight"] = model.embed_norm(tensors["embed_tokens.weight"]).detach()
    if config.residual_scalars:
        for number in range(config.layers):
            for scalar, matrix in (("attention_scale", "self_attn.o_proj"), ("mlp_scale", "mlp.down_proj")):
                name = f"layers.{number}.{matrix}.weight"
                tensors[name] = tensors[name] * tensors[f"layers.{number}.{scalar}"]
    kept = folded.state_dict().keys()
    folded.load_state_dict({name: tensor for name, tensor in tensors.items() if name in kept}, strict=True)
    return folded.eval()


def _exported(name: str) -> str:
    return name if name.startswith("lm_head.") else PREFIX + name


def _to_qwen3(config: ModelConfig) -> dict[str, Any]:
    return {
        "architectures": [ARCHITECTURE],
        "model_type": "qwen3",
        "vocab_size": config.vocabulary_size,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_size,
        "intermediate_size": config.intermediate_size,
        "max_position_embeddings": config.max_positions,
        "rope_theta": config.rope_theta,  # read by llama.cpp, vLLM and transformers 4
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},  # read by transformers 5
        "rms_norm_eps": config.norm_epsilon,
        "hidden_act": "silu",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "use_sliding_window": False,
        "tie_word_embeddings": config.tied_embeddings,
        "initializer_range": INITIAL_STD,
        "bos_token_id": END_OF_TEXT,
        "eos_token_id": END_OF_TEXT,
        "pad_token_id": END_OF_TEXT,
        "torch_dtype": "float32",  # transformers 4
        "dtype": "float32",  # transformers 5
        "use_cache": True,
    }


def _from_qwen3(values: dict[str, Any]) -> ModelConfig:
    """The model's config; ValueError if the file describes another architecture, or options that are not built."""
    config = ModelConfig(
        vocabulary_size=values["vocab_size"],
        hidden_size=values["hidden_size"],
        layers=values["num_hidden_layers"],
        heads=values["num_attention_heads"],
        kv_heads=values["num_key_value_heads"],
        head_size=values["head_dim"],
        intermediate_size=values["intermediate_size"],
        max_positions=values["max_position_embeddings"],
        rope_theta=values["rope_theta"],
        norm_epsilon=values["rms_norm_eps"],
        tied_embeddings=values["tie_word_embeddings"],
    )
    expected = _to_qwen3(config)
    strange = [key for key in ("architectures", "hidden_act") if values[key] != expected[key]]
    if strange:
        raise ValueError("; ".join(f"{key} is {values[key]!r}, not {expected[key]!r}" for key in strange))
    return config


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n")
