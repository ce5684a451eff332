"""Which tokens of a packed sequence see each other when documents are kept apart.

Positions are not counted anew in each document: rotary positions enter a product of query and key by their distance
alone, so that the scores within a document would be the same.
"""

from functools import cache

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask

from minimind.model.transformer import Mask

END_OF_TEXT = 0  # every document begins with it, and it stands nowhere else


def document_mask(inputs: Tensor, *, by_blocks: bool) -> Mask:
    """For `inputs` [B, T]: a token sees itself and those before it that are of its own document.

    `by_blocks` for FlexAttention, which leaves out blocks that see nothing and is fast only where it is compiled; else
    a table of bools [B, 1, T, T] for scaled_dot_product_attention.
    """
    documents = (inputs == END_OF_TEXT).cumsum(dim=1)  # B T
    if by_blocks:
        return _block_mask(documents)
    same = documents[:, None, :, None] == documents[:, None, None, :]  # B 1 T T
    return same & _causal(inputs.shape[1], inputs.device)


def _block_mask(documents: Tensor) -> BlockMask:
    batch, length = documents.shape

    def sees(b: Tensor, h: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (query >= key) & (documents[b, query] == documents[b, key])

    return create_block_mask(sees, batch, None, length, length, device=documents.device.type)


@cache
def _causal(length: int, device: torch.device) -> Tensor:
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()
