"""The exported folder, which stock `transformers`, vLLM and llama.cpp load as a `Qwen3ForCausalLM`."""

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from minimind.errors import ModelNotFoundError
from minimind.model.transformer import INITIAL_STD, STOP_TOKENS, ModelConfig, Transformer

PREFIX = "model."
ARCHITECTURE = "Qwen3ForCausalLM"
END_OF_TEXT = 0
SAID_TENSORS = 3  # that a folder lacks, in an error
UNFOLDED_ERROR = 1e-3  # of the greatest weight; rounding to fp32 makes 1e-6


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
    """The model of a folder in Qwen3 format, fp32, in evaluation mode. Raises ModelNotFoundError as `read_config`."""
    model = Transformer(read_config(folder))
    load_weights(model, folder)
    return model.to(device).eval()


def read_config(folder: Path) -> ModelConfig:
    """Of a folder in Qwen3 format. Raises ModelNotFoundError for another architecture, and for what is no model."""
    with _refusals_said(folder):
        return _from_qwen3(json.loads((folder / "config.json").read_bytes()))


def load_weights(model: Transformer, folder: Path) -> None:
    """Puts the folder's weights into `model`, which then is the same function of its tokens: the inverse of `fold`.

    `model` may have residual scalars, which become 1, and a norm behind a tied embedding, if the folder's model was
    trained with one. Raises ModelNotFoundError for other names or shapes.
    """
    config = model.config
    with _refusals_said(folder):
        tensors: dict[str, Tensor] = {}
        for path in weight_files(folder):
            tensors |= {_ours(name): tensor.to(torch.float32) for name, tensor in load_file(path).items()}
        if config.embedding_norm:
            tensors = _unfold_embedding_norm(tensors, config)
        elif config.tied_embeddings and (own := tensors.pop("lm_head.weight", None)) is not None:
            _refuse_unless(torch.equal(own, tensors["embed_tokens.weight"]), "it has an output matrix of its own")
        if config.residual_scalars:
            scalars = (name for name in model.state_dict() if name.endswith(("attention_scale", "mlp_scale")))
            tensors |= {name: torch.ones(1) for name in scalars}
        model.load_state_dict(tensors, strict=True)


def weight_files(folder: Path) -> list[Path]:
    """model.safetensors, or the files that its index names; pickles are never looked for."""
    index, names = folder / "model.safetensors.index.json", ["model.safetensors"]
    with _refusals_said(folder):
        if index.is_file() and not (folder / names[0]).is_file():
            names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
            _refuse_unless(all(name == Path(name).name for name in names), f"{index.name} names files elsewhere")
        for name in names:
            if not (folder / name).is_file():
                raise FileNotFoundError(errno.ENOENT, "missing", name)
    return [folder / name for name in names]


def check_tensors(folder: Path) -> None:
    """Raises ModelNotFoundError unless names and shapes are those of the folder's config. Reads no weights."""
    config = read_config(folder)
    found: dict[str, list[int]] = {}
    with _refusals_said(folder):
        for path in weight_files(folder):
            with safe_open(path, framework="pt") as file:
                found |= {_ours(name): file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
        if config.tied_embeddings:
            found.pop("lm_head.weight", None)
        with torch.device("meta"):
            expected = {name: list(tensor.shape) for name, tensor in Transformer(config).state_dict().items()}
        wrong = [f"{name} is missing" for name in sorted(expected.keys() - found.keys())]
        wrong += [f"{name} is unknown" for name in sorted(found.keys() - expected.keys())]
        shared = sorted(found.keys() & expected.keys())
        wrong += [f"{name} is {found[name]}, not {expected[name]}" for name in shared if found[name] != expected[name]]
        more = f", and {len(wrong) - SAID_TENSORS} more" if len(wrong) > SAID_TENSORS else ""
        _refuse_unless(not wrong, "; ".join(wrong[:SAID_TENSORS]) + more)


@contextmanager
def _refusals_said(folder: Path) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelNotFoundError(f"{folder} is no exported model: {error.filename or folder} is missing") from None
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        said = f"{error} is missing" if isinstance(error, KeyError) else error
        raise ModelNotFoundError(f"{folder} is no model in the Qwen3 format: {said}") from error


def _refuse_unless(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


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


def _unfold_embedding_norm(tensors: dict[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """With the gains of the norm, and the embedding before it, which is the folded model's output matrix."""
    without = "it was trained without a norm behind its embedding"
    _refuse_unless(config.tied_embeddings and "lm_head.weight" in tensors, without)
    embedding, folded = tensors["lm_head.weight"], tensors["embed_tokens.weight"]
    normalised = F.rms_norm(embedding, embedding.shape[1:], None, config.norm_epsilon)
    gains = (normalised * folded).sum(0) / normalised.square().sum(0).clamp(min=1e-12)
    close = torch.allclose(normalised * gains, folded, rtol=0, atol=UNFOLDED_ERROR * float(folded.abs().max()))
    _refuse_unless(close, without)
    kept = {name: tensor for name, tensor in tensors.items() if name != "lm_head.weight"}
    return kept | {"embed_tokens.weight": embedding, "embed_norm.weight": gains}


def _exported(name: str) -> str:
    return name if name.startswith("lm_head.") else PREFIX + name


def _ours(name: str) -> str:
    return name.removeprefix(PREFIX)


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
    wanted = {"architectures": [ARCHITECTURE], "hidden_act": "silu"}
    options = {"attention_bias": False, "use_sliding_window": False, "rope_scaling": None}
    strange = [f"{key} is {values[key]!r}, not {value!r}" for key, value in wanted.items() if values[key] != value]
    strange += [
        f"{key} is {values[key]!r}, which is not built" for key, off in options.items() if values.get(key, off) != off
    ]
    rotary = values.get("rope_parameters") or {}  # of transformers 5
    if rotary.get("rope_type", "default") != "default":
        strange.append(f"rope_type is {rotary['rope_type']!r}, which is not built")
    if strange:
        raise ValueError("; ".join(strange))
    return ModelConfig(
        vocabulary_size=values["vocab_size"],
        hidden_size=values["hidden_size"],
        layers=values["num_hidden_layers"],
        heads=values["num_attention_heads"],
        kv_heads=values["num_key_value_heads"],
        head_size=values["head_dim"],
        intermediate_size=values["intermediate_size"],
        max_positions=values["max_position_embeddings"],
        rope_theta=rotary["rope_theta"] if "rope_theta" in rotary else values["rope_theta"],
        norm_epsilon=values["rms_norm_eps"],
        tied_embeddings=values["tie_word_embeddings"],
    )


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n")
