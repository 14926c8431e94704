"""Types in which functions run under PyTorch's automatic mixed precision on a GPU.

The lists are those of `torch.autocast("cuda")`. PyTorch itself changes no type where tensors have
no memory on a GPU, so that the trace does it.
"""

from __future__ import annotations

from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.importers.torch_call import words

__all__ = ["autocast_kind", "checked_autocast"]

_NARROW = words(
    "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution linear "
    "matmul mm bmm addmm baddbmm addbmm addmv einsum prelu scaled_dot_product_attention lstm gru "
    "rnn_tanh rnn_relu lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell"
)
_WIDE = words(
    "exp log pow softplus layer_norm group_norm norm linalg_vector_norm softmax log_softmax sum "
    "prod cumsum cumprod rsqrt reciprocal acos asin cosh sinh tan log10 log1p log2 expm1 dist "
    "cosine_similarity rms_norm upsample_nearest1d upsample_nearest2d upsample_nearest3d "
    "upsample_linear1d upsample_bilinear2d upsample_trilinear3d upsample_bicubic2d"
)
_WIDEST = words("cat stack addcmul addcdiv bilinear cross dot grid_sampler index_put")


def checked_autocast(name: str | None) -> str | None:
    """Type of automatic mixed precision.

    Raises:
        InputError: If it is no type of 16 bits.
    """
    if name not in (None, "float16", "bfloat16"):
        raise InputError(f"autocast is {name!r}; expected 'float16', 'bfloat16' or None")
    return name


def autocast_kind(function: str) -> str:
    """Type that a function reads: `"narrow"`, `"wide"` or `"widest"`; empty for any type."""
    kinds = {"narrow": _NARROW, "wide": _WIDE, "widest": _WIDEST}
    return next((kind for kind, names in kinds.items() if function in names), "")
