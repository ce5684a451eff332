"""The exported folder, which stock `transformers`, vLLM and llama.cpp load as a `Qwen3ForCausalLM`."""

import json
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
    """Writes config.json, generation_config.json and model.safetensors (fp32, the tied output matrix left out)."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {PREFIX + name: tensor.float().cpu().contiguous() for name, tensor in model.state_dict().items()}
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
        "tie_word_embeddings": True,
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
    )
    expected = _to_qwen3(config)
    strange = [key for key in ("architectures", "hidden_act", "tie_word_embeddings") if values[key] != expected[key]]
    if strange:
        raise ValueError("; ".join(f"{key} is {values[key]!r}, not {expected[key]!r}" for key in strange))
    return config


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n")
