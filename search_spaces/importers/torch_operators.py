"""Steps of single calls of ATen functions.

Calls are known by their ATen names, without the mark of a call in place, so that this file needs no
torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from nasplug.search_spaces.importers import torch_composites, torch_moves, torch_transforms
from nasplug.search_spaces.importers.network import ImportedNetwork
from nasplug.search_spaces.importers.torch_call import Call, Weight
from nasplug.search_spaces.importers.torch_products import (
    added_matmul,
    attention,
    conv,
    conv_transpose,
    einsum,
    general_convolution,
    linear,
    matmul,
    sides,
    unknown,
)
from nasplug.search_spaces.importers.torch_recurrent import recurrent_handlers

__all__ = ["MAPPED", "add_call"]

Handler = Callable[[ImportedNetwork, Call], "int | list[int]"]


def add_call(network: ImportedNetwork, call: Call) -> list[int]:
    """Append the steps of a call.

    Returns:
        Position of each output; the last position stands for further outputs too.

    Raises:
        InputError: If the call does not fit its arguments.
    """
    positions = _HANDLERS.get(call.name, unknown)(network, call)
    return [positions] if isinstance(positions, int) else positions


def _on_first(op: str) -> Handler:
    """Make a handler for an operator on its first argument; the others are no data."""

    def handler(network: ImportedNetwork, call: Call) -> int:
        axis = call.argument(1) if op in _ALONG else None
        along = axis % len(call.shape) if isinstance(axis, int) and call.shape else None
        return network.add(op, (call.source(),), call.shape, along=along)

    return handler


# Operators that read all elements along one axis, whose output has the shape of the input.
_ALONG = frozenset({"Softmax", "LogSoftmax", "CumSum"})


def _on_all(op: str) -> Handler:
    """Make a handler for an operator on every tensor among its arguments."""

    def handler(network: ImportedNetwork, call: Call) -> int:
        return network.add(op, call.data, call.shape, other_params=call.params())

    return handler


def _arithmetic(op: str, swapped: bool = False) -> Handler:
    """Make a handler for an operator on two operands, each of them a tensor or a number."""

    def handler(network: ImportedNetwork, call: Call) -> int:
        number: tuple[float, ...] = ()
        first = False
        for k, value in enumerate(call.arguments[:2]):
            if isinstance(value, (int, float)):
                number, first = (float(value),), k == 0
            elif isinstance(value, Weight) and value.size == 1:
                number, first = (math.nan,), k == 0
        result = network.add(
            op,
            call.data,
            call.shape,
            other_params=call.params(),
            number=number,
            number_first=first != swapped if number else False,
        )
        rounding = op == "Div" and len(call.arguments) > 2 and call.arguments[2] is not None
        return network.add("Floor", (result,), call.shape) if rounding else result

    return handler


def _bitwise(op: str) -> Handler:
    """Make a handler for an operator on bits, which is one of logic on truths."""

    def handler(network: ImportedNetwork, call: Call) -> int | list[int]:
        return _on_all(op if call.types[1] == "bool" else f"Bitwise{op}")(network, call)

    return handler


def _square(network: ImportedNetwork, call: Call) -> int:
    return network.add("Pow", (call.source(),), call.shape, number=(2.0,))


def _norm(op: str, scale: int, shift: int | None) -> Handler:
    def handler(network: ImportedNetwork, call: Call) -> int:
        weights = [call.weight(scale), None if shift is None else call.weight(shift)]
        params = sum(weight.size for weight in weights if weight is not None)
        return network.add(op, (call.source(),), call.shape, other_params=params)

    return handler


def _group_norm(network: ImportedNetwork, call: Call) -> int | list[int]:
    """Append a norm of groups; groups of one channel are an instance norm."""
    if call.argument(1) == call.shape[1]:
        return _instance_norm(network, call)
    return _norm("GroupNormalization", 2, 3)(network, call)


def _instance_norm(network: ImportedNetwork, call: Call) -> int:
    # ONNX has no form without scale and shift: exporters write ones and zeros.
    params = 2 * call.shape[1]
    return network.add("InstanceNormalization", (call.source(),), call.shape, other_params=params)


def _prelu(network: ImportedNetwork, call: Call) -> int:
    slope = call.weight(1)
    params = 0 if slope is None else slope.size
    return network.add("PRelu", call.data, call.shape, other_params=params)


def _clip(low: float | None, high: float | None) -> Handler:
    """Make a handler for a Clip with fixed bounds, or with those of arguments 1 and 2."""

    def handler(network: ImportedNetwork, call: Call) -> int:
        bounds = [
            call.argument(k, math.nan) if bound is None else bound
            for k, bound in ((1, low), (2, high))
        ]
        numbers = tuple(float(b) if isinstance(b, (int, float)) else math.nan for b in bounds)
        return network.add("Clip", (call.source(),), call.shape, number=numbers)

    return handler


def _pool(op: str) -> Handler:
    def handler(network: ImportedNetwork, call: Call) -> int:
        rank = len(call.shape) - 2
        window = sides(call.argument(1), rank)
        stride = sides(call.argument(2) or window, rank)
        return network.add(op, (call.source(),), call.shape, kernel=window, stride=stride)

    return handler


def _adaptive_pool(op: str, to_one: str) -> Handler:
    """Make a handler for pooling to a given size, by equal windows as exporters write them."""

    def handler(network: ImportedNetwork, call: Call) -> int:
        source = call.source()
        axes = len(call.argument(1)) if isinstance(call.argument(1), (list, tuple)) else 1
        before, after = network.shape(source)[-axes:], call.shape[-axes:]
        if set(after) == {1}:
            return network.add(to_one, (source,), call.shape)
        window = tuple(math.ceil(b / a) for b, a in zip(before, after, strict=True))
        if set(window) == {1}:
            return source
        stride = tuple(max(1, b // a) for b, a in zip(before, after, strict=True))
        return network.add(op, (source,), call.shape, kernel=window, stride=stride)

    return handler


def _cast(network: ImportedNetwork, call: Call) -> int:
    op = "Identity" if call.types[0] == call.types[1] else "Cast"
    return network.add(op, (call.source(),), call.shape)


def _copy(network: ImportedNetwork, call: Call) -> int:
    """Append what is written to a tensor: another one, in its shape and type."""
    source = call.source(1)
    if network.shape(source) != call.shape:
        source = network.add("Expand", (source,), call.shape)
    is_cast = network.steps[source].type != call.types[1]
    return network.add("Cast" if is_cast else "Identity", (source,), call.shape)


def _vector_norm(network: ImportedNetwork, call: Call) -> int:
    op = {1: "ReduceL1", 2: "ReduceL2"}.get(call.argument(1, 2))
    return unknown(network, call) if op is None else network.add(op, (call.source(),), call.shape)


def _names(handler: Handler, names: str) -> dict[str, Handler]:
    return dict.fromkeys(names.split(), handler)


# ATen name and ONNX type of operators on their first argument.
_ON_FIRST = (
    "relu:Relu leaky_relu:LeakyRelu elu:Elu celu:Celu selu:Selu silu:Silu mish:Mish "
    "hardswish:HardSwish hardsigmoid:HardSigmoid sigmoid:Sigmoid tanh:Tanh softplus:Softplus "
    "softsign:Softsign erf:Erf sqrt:Sqrt exp:Exp log:Log neg:Neg abs:Abs reciprocal:Reciprocal "
    "floor:Floor ceil:Ceil round:Round sin:Sin cos:Cos softmax:Softmax _softmax:Softmax "
    "log_softmax:LogSoftmax _log_softmax:LogSoftmax pixel_shuffle:DepthToSpace "
    "pixel_unshuffle:SpaceToDepth constant_pad_nd:Pad pad:Pad expand:Expand expand_as:Expand "
    "repeat:Tile repeat_interleave:Tile slice:Slice narrow:Slice topk:TopK argmax:ArgMax "
    "argmin:ArgMin cumsum:CumSum gelu:Gelu batch_norm:BatchNormalization "
    "_native_batch_norm_legit_no_training:BatchNormalization mean:ReduceMean sum:ReduceSum "
    "amax:ReduceMax max:ReduceMax amin:ReduceMin min:ReduceMin prod:ReduceProd dropout:Identity "
    "feature_dropout:Identity alpha_dropout:Identity native_dropout:Identity clone:Identity "
    "contiguous:Identity alias:Identity detach:Identity lift_fresh_copy:Identity "
    "_pack_padded_sequence:Gather _pad_packed_sequence:Gather any:ReduceMax all:ReduceMin "
    "logical_not:Not tril:Trilu triu:Trilu sign:Sign tan:Tan asin:Asin "
    "acos:Acos atan:Atan sinh:Sinh cosh:Cosh asinh:Asinh acosh:Acosh atanh:Atanh isnan:IsNaN "
    "isinf:IsInf logsumexp:ReduceLogSumExp cumprod:CumProd sort:TopK argsort:TopK kthvalue:TopK "
    "col2im:Col2Im unfold_backward:Col2Im im2col:Gather unfold:Gather view_as_real:Reshape "
    "view_as_complex:Reshape "
    "trunc:Floor torchao.quantize_affine:QuantizeLinear "
    "torchao.dequantize_affine:DequantizeLinear torchao.choose_qparams_affine:ReduceMax "
    "quantized_decomposed.quantize_per_tensor:QuantizeLinear "
    "quantized_decomposed.dequantize_per_tensor:DequantizeLinear "
    "quantized_decomposed.quantize_per_channel:QuantizeLinear "
    "quantized_decomposed.dequantize_per_channel:DequantizeLinear "
    "quantized_decomposed.quantize_per_token:QuantizeLinear "
    "quantized_decomposed.dequantize_per_token:DequantizeLinear "
    "quantized_decomposed.choose_qparams:ReduceMax sgn:Sign exp2:Pow nan_to_num:Where "
    "hardshrink:Shrink softshrink:Shrink threshold:ThresholdedRelu rrelu_with_noise:LeakyRelu "
    "count_nonzero:ReduceSum median:TopK as_strided:Gather diagonal:Slice "
    "affine_grid_generator:AffineGrid"
)
# The same of operators on every tensor among the arguments.
_ON_ALL = (
    "maximum:Max minimum:Min where:Where masked_fill:Where eq:Equal ne:Equal gt:Greater "
    "ge:GreaterOrEqual lt:Less le:LessOrEqual logical_and:And logical_or:Or logical_xor:Xor "
    "remainder:Mod fmod:Mod "
    "__lshift__:BitShift __rshift__:BitShift bitwise_left_shift:BitShift "
    "bitwise_right_shift:BitShift atan2:Atan scatter:ScatterElements scatter_add:ScatterElements "
    "scatter_reduce:ScatterElements index_add:ScatterElements index_copy:ScatterElements "
    "index_reduce:ScatterElements index_fill:ScatterElements index_put:ScatterND "
    "masked_scatter:ScatterElements slice_scatter:ScatterND select_scatter:ScatterND "
    "diagonal_scatter:ScatterND grid_sampler:GridSample max_unpool2d:MaxUnpool "
    "max_unpool3d:MaxUnpool take_along_dim:GatherElements gather:GatherElements one_hot:OneHot "
    "cat:Concat block_diag:Concat embedding:Gather index:Gather take:Gather"
)
_FACTORISATIONS = {
    "_linalg_det": "Det",
    "linalg_inv_ex": "Inverse",
    "linalg_cholesky_ex": "Cholesky",
    "_linalg_solve_ex": "Solve",
    "linalg_solve_triangular": "TriangularSolve",
}
_HANDLERS: dict[str, Handler] = {
    **_names(conv, "conv1d conv2d conv3d"),
    **_names(conv_transpose, "conv_transpose1d conv_transpose2d conv_transpose3d"),
    **_names(general_convolution, "convolution _convolution"),
    **_names(matmul, "matmul mm bmm dot vdot mv _int_mm _scaled_mm _grouped_mm"),
    **_names(added_matmul, "addmm baddbmm addmv"),
    "linear": linear,
    "layer_norm": _norm("LayerNormalization", 2, 3),
    "native_layer_norm": _norm("LayerNormalization", 2, 3),
    "rms_norm": _norm("RMSNormalization", 2, None),
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
    "prelu": _prelu,
    "_prelu_kernel": _prelu,
    "relu6": _clip(0.0, 6.0),
    "clamp": _clip(None, None),
    "hardtanh": _clip(None, None),
    "clamp_min": _clip(None, math.nan),
    "clamp_max": _clip(math.nan, None),
    "add": _arithmetic("Add"),
    "sub": _arithmetic("Sub"),
    "rsub": _arithmetic("Sub", swapped=True),
    "mul": _arithmetic("Mul"),
    "div": _arithmetic("Div"),
    "pow": _arithmetic("Pow"),
    "square": _square,
    **{f"bitwise_{op.lower()}": _bitwise(op) for op in ("And", "Or", "Xor", "Not")},
    **_names(torch_transforms.fourier, "_fft_r2c _fft_c2r _fft_c2c"),
    **{name: torch_transforms.factorisation(op) for name, op in _FACTORISATIONS.items()},
    "_euclidean_dist": torch_transforms.euclidean_distances,
    "_cdist_forward": torch_transforms.distances,
    "_trilinear": torch_transforms.bilinear,
    "addcmul": torch_composites.added_product,
    **_names(_vector_norm, "linalg_vector_norm norm"),
    "var": torch_composites.variance,
    "std": torch_composites.deviation,
    "var_mean": torch_composites.variance_and_mean,
    "glu": torch_composites.gated,
    "rsqrt": torch_composites.rsqrt,
    "log1p": torch_composites.in_turn("Add", "Log"),
    "expm1": torch_composites.in_turn("Exp", "Sub"),
    "log2": torch_composites.in_turn("Log", "Div"),
    "log10": torch_composites.in_turn("Log", "Div"),
    "erfc": torch_composites.in_turn("Erf", "Sub"),
    "frac": torch_composites.in_turn("Floor", "Sub"),
    "log_sigmoid_forward": torch_composites.in_turn("Sigmoid", "Log"),
    "lerp": torch_composites.interpolated,
    "floor_divide": torch_composites.floor_division,
    "aminmax": torch_composites.extremes,
    **_names(torch_composites.bag, "_embedding_bag _embedding_bag_forward_only"),
    "channel_shuffle": torch_composites.channel_shuffle,
    **{name: _on_first(op) for name, op in (pair.split(":") for pair in _ON_FIRST.split())},
    **{name: _on_all(op) for name, op in (pair.split(":") for pair in _ON_ALL.split())},
    **_names(
        _on_first("Resize"),
        "upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_linear1d "
        "upsample_bilinear2d upsample_bicubic2d upsample_trilinear3d _upsample_nearest_exact1d "
        "_upsample_nearest_exact2d _upsample_bilinear2d_aa _upsample_bicubic2d_aa",
    ),
    **_names(
        _on_first("Reshape"),
        "view reshape _unsafe_view flatten unflatten squeeze unsqueeze view_as reshape_as",
    ),
    **_names(_pool("MaxPool"), "max_pool1d max_pool2d max_pool3d max_pool2d_with_indices"),
    **_names(_pool("AveragePool"), "avg_pool1d avg_pool2d avg_pool3d"),
    **_names(
        _adaptive_pool("AveragePool", "GlobalAveragePool"),
        "adaptive_avg_pool1d adaptive_avg_pool2d _adaptive_avg_pool2d adaptive_avg_pool3d",
    ),
    **_names(_adaptive_pool("MaxPool", "GlobalMaxPool"), "adaptive_max_pool2d adaptive_max_pool1d"),
    "permute": torch_moves.permute,
    **_names(torch_moves.transpose, "transpose t swapaxes"),
    "select": torch_moves.select,
    **_names(torch_moves.split, "split split_with_sizes chunk tensor_split"),
    "unbind": torch_moves.unbind,
    "stack": torch_moves.stack,
    "roll": torch_moves.roll,
    "flip": torch_moves.flip,
    **_names(_cast, "to _to_copy type_as float"),
    **_names(_copy, "copy fill"),
    "index_select": torch_moves.index_select,
    "einsum": einsum,
    "scaled_dot_product_attention": attention,
    **recurrent_handlers,
}

# Calls that stay whole when a program is decomposed.
MAPPED = frozenset(_HANDLERS)
