"""Operators of whole networks.

Every source of a network (a generator of this package, an ONNX file, a PyTorch module) names its
operators in one list of `Operator`; `pricing.network_graph` rewrites the list to what an inference
engine runs and prices it, so that the same network gives the same graph from every source.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "CONVS",
    "ELEMENTWISE",
    "FEATURES_LAST",
    "IDLE",
    "KNOWN_OPS",
    "RESHAPES",
    "TRANSFORMS",
    "WINDOWS",
    "Operator",
    "Window",
]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


CONVS = frozenset({"Conv", "ConvTranspose"})
WINDOWS = CONVS | {"MaxPool", "AveragePool", "LpPool"}
RESHAPES = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze"})
IDLE = frozenset({"Identity", "Dropout"})
# Operators that keep features on the last axis, whatever the rank.
FEATURES_LAST = frozenset({"Gemm", "LayerNormalization"})
ELEMENTWISE = _words(
    "Relu LeakyRelu PRelu Elu Celu Selu Silu Mish HardSwish HardSigmoid Sigmoid Tanh Softplus "
    "Softsign Gelu Erf Clip Add Sub Mul Div Pow Sqrt Exp Log Neg Abs Reciprocal Min Max Sum Mean "
    "Floor Ceil Round Sin Cos Where Equal Greater Less Not And Or Cast BatchNormalization "
    "InstanceNormalization GroupNormalization LayerNormalization RMSNormalization "
    "LpNormalization LRN Softmax LogSoftmax QuantizeLinear DequantizeLinear RotaryEmbedding "
    "GreaterOrEqual LessOrEqual Xor Mod Sign Tan Asin Acos Atan Sinh Cosh Asinh Acosh Atanh IsNaN "
    "IsInf ThresholdedRelu Shrink Hardmax BitShift BitwiseAnd BitwiseOr BitwiseXor BitwiseNot "
    "BitCast Trilu MeanVarianceNormalization"
)
_MOVES = _words(
    "Input Output Reshape Transpose Concat Split Slice Gather Pad Expand Tile Resize Upsample "
    "DepthToSpace SpaceToDepth GatherElements GatherND Scatter ScatterElements ScatterND "
    "TensorScatter OneHot Compress ReverseSequence CenterCropPad Col2Im MaxUnpool GridSample "
    "AffineGrid RoiAlign MaxRoiPool Range ConstantOfShape EyeLike Shape Size"
)
_REDUCTIONS = _words(
    "GlobalAveragePool GlobalMaxPool ReduceMean ReduceSum ReduceMax ReduceMin ReduceL2 "
    "ReduceProd ReduceL1 ReduceLogSum ReduceLogSumExp ReduceSumSquare CumProd ArgMax ArgMin TopK "
    "CumSum"
)
# Operators without weights that multiply all the same; in the place of a weight's shape they have 1
# and the multiply-accumulates of a number of their output.
TRANSFORMS = _words("DFT Det Inverse Cholesky Solve TriangularSolve")
# Operator types whose cost this module knows; any other is priced by the data it moves.
KNOWN_OPS: frozenset[str] = (
    WINDOWS
    | IDLE
    | RESHAPES
    | ELEMENTWISE
    | _MOVES
    | _REDUCTIONS
    | TRANSFORMS
    | {"Gemm", "MatMul", "LSTM", "GRU", "RNN"}
)


# Slots: a search makes hundreds of thousands of these.
@dataclass(frozen=True, slots=True)
class Operator:
    """One operator of a network, on one image.

    Attributes:
        op: ONNX type, in the canonical form `"Conv"`, `"Gemm"`, `"Silu"`, …; `"Input"` for an
            input of the network.
        inputs: Positions in the list of operators whose outputs this operator reads. Constants are
            no operators.
        shape: Shape of its output for one image, first axis 1.
        weights: Shape of its main weight: Conv `(out, in/groups, *window)`, ConvTranspose
            `(in, out/groups, *window)`, Gemm and MatMul by a constant `(out, in)`; else empty.
        bias: Whether it adds a bias of one number a channel.
        kernel: Height and width of its window in pixels; `(0, 0)` without one.
        stride: Vertical and horizontal step of the window; without a window it does not count.
        groups: Groups of a convolution.
        other_params: Parameters beyond weights and bias: scales of a norm, a constant added.
        type: Element type of its output, a key of `costs.TYPE_BYTES`.
        weight_type: Element type of its weights; empty if they are of the output's type.
        parameters: Name and number of elements of each parameter tensor that it reads, so that a
            tensor that several operators read is counted once; None if no tensor is shared.
    """

    op: str
    inputs: tuple[int, ...]
    shape: tuple[int, ...]
    weights: tuple[int, ...] = ()
    bias: bool = False
    kernel: tuple[int, ...] = (0, 0)
    stride: tuple[int, ...] = (1, 1)
    groups: int = 1
    other_params: int = 0
    type: str = "float32"
    weight_type: str = ""
    parameters: tuple[tuple[str, int], ...] | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """Padding on every side of an operator's window, and whether its output's side rounds up."""

    padding: int = 0
    ceil: bool = False
