"""The model: a decoder of the Qwen3 family, top to bottom.

Pre-norm RMSNorm, rotary positions, grouped-query attention with normalised queries and keys, SwiGLU.
Parameters bear the names of `transformers`' Qwen3 after its `model.` prefix, so that an export only adds the prefix.

Two additions help training and are no part of Qwen3: a norm behind the embedding, and a scalar for what each block
adds to the residual stream. `hugging_face.fold` multiplies them into the matrices beside them.

Shape legend: B batch, T tokens, P tokens in the cache before these, C hidden_size, V vocabulary_size,
H query heads, K key and value heads, D head_size, F intermediate_size.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, flex_attention

INITIAL_STD = 0.02  # GPT-2's
OUTPUT_PROJECTIONS = ("o_proj.weight", "down_proj.weight")  # write into the residual stream
STOP_TOKENS = (0, 2)  # the next document begins; the turn of a chat ends

Mask = Tensor | BlockMask  # bool [B, 1, T, T], True where a token may look; or the same by blocks, for FlexAttention


@dataclass(frozen=True)
class ModelConfig:
    vocabulary_size: int
    hidden_size: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    intermediate_size: int
    max_positions: int  # the sequence length of training; later positions were never seen
    rope_theta: float = 10_000.0
    norm_epsilon: float = 1e-6
    tied_embeddings: bool = True  # the output matrix is the embedding
    embedding_norm: bool = False
    residual_scalars: bool = False

    @property
    def parameters(self) -> int:
        """Values that training moves. Reckoned, as a model on `meta` imports torch's compiler, in 2 CPU seconds."""
        attention = 2 * self.hidden_size * (self.heads + self.kv_heads) * self.head_size + 2 * self.head_size
        feed_forward = 3 * self.hidden_size * self.intermediate_size
        layer = attention + feed_forward + 2 * self.hidden_size + 2 * self.residual_scalars
        embeddings = (1 if self.tied_embeddings else 2) * self.vocabulary_size * self.hidden_size
        return self.layers * layer + embeddings + (2 if self.embedding_norm else 1) * self.hidden_size


class KeyValueCache:
    """Keys and values of up to `capacity` tokens a row, [B, K, capacity, D] a layer; `lengths` are filled, by row."""

    def __init__(
        self, config: ModelConfig, batch: int, device: torch.device, dtype: torch.dtype, capacity: int | None = None
    ) -> None:
        shape = (batch, config.kv_heads, capacity or config.max_positions, config.head_size)
        self.keys = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.layers)]
        self.values = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.layers)]
        self.lengths = [0] * batch

    def begin(self, length: int) -> Tensor:
        """Positions [B, T] of the next `length` tokens of each row, for which room is now kept until `end`."""
        device = self.keys[0].device
        starts = torch.tensor(self.lengths, device=device)
        self.positions = starts[:, None] + torch.arange(length, device=device)
        self.filled = max(self.lengths) + length
        # one token a row, of rows of one length, sees all that is there
        alike = length == 1 and min(self.lengths) == max(self.lengths)
        columns = torch.arange(self.filled, device=device)
        self.mask = None if alike else (columns <= self.positions[:, :, None])[:, None]  # B 1 T P+T
        return self.positions

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values of a layer, [B, K, P+T, D], after these of [B, K, T, D] have been put behind."""
        rows = torch.arange(len(self.lengths), device=keys.device)[:, None]
        self.keys[layer][rows, :, self.positions] = keys.transpose(1, 2)
        self.values[layer][rows, :, self.positions] = values.transpose(1, 2)
        return self.keys[layer][:, :, : self.filled], self.values[layer][:, :, : self.filled]

    def end(self) -> None:
        self.lengths = [length + self.positions.shape[1] for length in self.lengths]

    def keep(self, rows: Sequence[int]) -> None:
        """Forgets all other rows."""
        chosen = torch.tensor(rows, device=self.keys[0].device)
        self.keys = [keys[chosen] for keys in self.keys]
        self.values = [values[chosen] for values in self.values]
        self.lengths = [self.lengths[row] for row in rows]

    def put(self, rows: Sequence[int], other: "KeyValueCache", lengths: Sequence[int]) -> None:
        """Overwrites rows by those of another cache, of which so many tokens count."""
        chosen = torch.tensor(rows, device=self.keys[0].device)
        width = other.keys[0].shape[2]
        for mine, theirs in zip([*self.keys, *self.values], [*other.keys, *other.values], strict=True):
            mine[chosen, :, :width] = theirs
        for row, length in zip(rows, lengths, strict=True):
            self.lengths[row] = length


class Transformer(nn.Module):
    cosine: Tensor  # max_positions D
    sine: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocabulary_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config, index) for index in range(config.layers))
        self.norm = RMSNorm(config.hidden_size, config.norm_epsilon)
        if config.embedding_norm:
            self.embed_norm = RMSNorm(config.hidden_size, config.norm_epsilon)
        if not config.tied_embeddings:
            self.lm_head = nn.Linear(config.hidden_size, config.vocabulary_size, bias=False)
        cosine, sine = rotary_tables(config)
        self.register_buffer("cosine", cosine, persistent=False)
        self.register_buffer("sine", sine, persistent=False)

    def forward(self, tokens: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """Logits [B, T, V] of the token after each of `tokens`, int64 [B, T]."""
        return self.logits(self.hidden_states(tokens, cache))

    def hidden_states(self, tokens: Tensor, cache: KeyValueCache | None = None, mask: Mask | None = None) -> Tensor:
        """Normalised states [B, T, C]. With a cache, `tokens` continue what each row holds, and are added.

        A token sees itself and all before it; with a mask, which goes with no cache, what the mask says.
        """
        past, length = (max(cache.lengths) if cache else 0), tokens.shape[1]
        if past + length > self.config.max_positions:
            raise ValueError(f"{past + length} tokens are more than the model's {self.config.max_positions} positions")
        cosine, sine = self.cosine[:length], self.sine[:length]
        if cache:
            positions = cache.begin(length)
            cosine, sine = self.cosine[positions][:, None], self.sine[positions][:, None]  # B 1 T D
        states: Tensor = in_bfloat16_where_products_are(self.embed_tokens(tokens))
        if self.config.embedding_norm:
            states = self.embed_norm(states)
        for layer in self.layers:
            states = layer(states, cosine, sine, cache, mask)
        states = self.norm(states)
        if cache:
            cache.end()
        return states

    def logits(self, states: Tensor) -> Tensor:
        return F.linear(states, self.output_matrix)

    @property
    def output_matrix(self) -> Tensor:
        """[V, C]; the embedding, where they are tied."""
        return self.embed_tokens.weight if self.config.tied_embeddings else self.lm_head.weight

    def initialize(self, generator: torch.Generator, *, zero_output_projections: bool = False) -> None:
        """Normal weights; those that write into the residual stream are scaled down by depth (GPT-2, section 2.3).

        Or those begin at zero, so that each block is the identity at first (Zhang, Dauphin and Ma 2019; muP, Yang et
        al. 2022, appendix D.2). The draws of the other weights are the same in both cases.
        """
        residual_std = INITIAL_STD / (2 * self.config.layers) ** 0.5
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if parameter.dim() < 2:
                    parameter.fill_(1.0)
                elif name.endswith(OUTPUT_PROJECTIONS):
                    parameter.normal_(0.0, residual_std, generator=generator)
                    if zero_output_projections:
                        parameter.zero_()
                else:
                    parameter.normal_(0.0, INITIAL_STD, generator=generator)

    def matrices(self) -> Iterator[nn.Parameter]:
        """Those of the layers."""
        return (parameter for parameter in self.layers.parameters() if parameter.dim() >= 2)

    def embeddings(self) -> Iterator[nn.Parameter]:
        """The embedding and, where it is another one, the output matrix."""
        yield from self.embed_tokens.parameters()
        if not self.config.tied_embeddings:
            yield from self.lm_head.parameters()

    def vectors(self) -> Iterator[nn.Parameter]:
        """Gains of norms, and the residual scalars."""
        return (parameter for parameter in self.parameters() if parameter.dim() < 2)

    @property
    def device(self) -> torch.device:
        return self.embed_tokens.weight.device


class Layer(nn.Module):
    def __init__(self, config: ModelConfig, index: int) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.norm_epsilon)
        self.self_attn = Attention(config, index)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.norm_epsilon)
        self.mlp = SwiGLU(config)
        if config.residual_scalars:
            self.attention_scale = nn.Parameter(torch.ones(1))
            self.mlp_scale = nn.Parameter(torch.ones(1))
        self.residual_scalars = config.residual_scalars

    def forward(
        self, states: Tensor, cosine: Tensor, sine: Tensor, cache: KeyValueCache | None, mask: Mask | None
    ) -> Tensor:
        mixed: Tensor = self.self_attn(self.input_layernorm(states), cosine, sine, cache, mask)
        states = states + (scaled(mixed, self.attention_scale, states.dtype) if self.residual_scalars else mixed)
        turned: Tensor = self.mlp(self.post_attention_layernorm(states))
        return states + (scaled(turned, self.mlp_scale, states.dtype) if self.residual_scalars else turned)


class Attention(nn.Module):
    def __init__(self, config: ModelConfig, index: int) -> None:
        super().__init__()
        self.index = index
        self.heads, self.kv_heads, self.head_size = config.heads, config.kv_heads, config.head_size
        self.q_proj = nn.Linear(config.hidden_size, config.heads * config.head_size, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, config.kv_heads * config.head_size, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, config.kv_heads * config.head_size, bias=False)
        self.o_proj = nn.Linear(config.heads * config.head_size, config.hidden_size, bias=False)
        self.q_norm = RMSNorm(config.head_size, config.norm_epsilon)
        self.k_norm = RMSNorm(config.head_size, config.norm_epsilon)

    def forward(
        self, states: Tensor, cosine: Tensor, sine: Tensor, cache: KeyValueCache | None, mask: Mask | None
    ) -> Tensor:
        batch, length, _ = states.shape
        q = self.q_proj(states).view(batch, length, self.heads, self.head_size)  # B T H D
        k = self.k_proj(states).view(batch, length, self.kv_heads, self.head_size)  # B T K D
        v = self.v_proj(states).view(batch, length, self.kv_heads, self.head_size).transpose(1, 2)  # B K T D
        q = rotate(self.q_norm(q).transpose(1, 2), cosine, sine)  # B H T D
        k = rotate(self.k_norm(k).transpose(1, 2), cosine, sine)  # B K T D
        if cache is not None:
            k, v = cache.append(self.index, k, v)  # B K P+T D
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=cache.mask, enable_gqa=True)
        elif isinstance(mask, BlockMask):
            q, k = q.to(v.dtype), k.to(v.dtype)  # autocast does so for the others; rotating in fp32 made them fp32
            mixed = flex_attention(q, k, v, block_mask=mask, enable_gqa=True)
        else:
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None, enable_gqa=True)
        output: Tensor = self.o_proj(mixed.transpose(1, 2).reshape(batch, length, -1))  # B H T D -> B T HD -> B T C
        return output


class SwiGLU(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, states: Tensor) -> Tensor:
        output: Tensor = self.down_proj(
            F.silu(self.gate_proj(states)) * self.up_proj(states)
        )  # B T C -> B T F -> B T C
        return output


class RMSNorm(nn.Module):
    """Over the last dimension, in fp32 (Zhang and Sennrich 2019)."""

    def __init__(self, size: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.epsilon = epsilon

    def forward(self, states: Tensor) -> Tensor:
        return F.rms_norm(states.float(), self.weight.shape, self.weight, self.epsilon).to(states.dtype)


def scaled(added: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """In the residual stream's precision; multiplied in the scale's, which is fp32."""
    return (added * scale).to(dtype)


def in_bfloat16_where_products_are(states: Tensor) -> Tensor:
    """The residual stream goes with autocast's bfloat16, at half the memory traffic; fp16 would not hold its sums."""
    kind = states.device.type
    is_bfloat16 = torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) == torch.bfloat16
    return states.bfloat16() if is_bfloat16 else states


def rotary_tables(config: ModelConfig) -> tuple[Tensor, Tensor]:
    """Cosines and sines [max_positions, D] of RoFormer's angles; dimension i and i + D/2 turn together, as in Llama."""
    exponents = torch.arange(0, config.head_size, 2, dtype=torch.float32) / config.head_size  # D/2
    frequencies = 1.0 / (config.rope_theta**exponents)
    angles = torch.outer(torch.arange(config.max_positions, dtype=torch.float32), frequencies)  # max_positions D/2
    angles = torch.cat([angles, angles], dim=-1)
    return angles.cos(), angles.sin()


def rotate(heads: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """`heads` [B, heads, T, D], turned by their positions' angles, [T, D] or [B, 1, T, D]."""
    first, second = heads.chunk(2, dim=-1)
    return heads * cosine + torch.cat([-second, first], dim=-1) * sine


def causal_mask(length: int, past: int, device: torch.device) -> Tensor:
    """True [T, P+T] where a new token may look: at all that was in the cache, itself and the new ones before it."""
    return torch.ones(length, past + length, dtype=torch.bool, device=device).tril(diagonal=past)
