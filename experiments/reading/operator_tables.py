"""Table of the operators that are read, and what each of them costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.tables import grouped, load, section, table
from nasplug.search_spaces.importers.onnx_fused import FUSED
from nasplug.search_spaces.importers.onnx_operators import HANDLED
from nasplug.search_spaces.operators import KNOWN_OPS, TRANSFORMS

__all__ = ["ROWS", "Row", "operators", "optimised_files", "read_operators"]

PLAIN = "what it reads, writes, and its weights"


@dataclass(frozen=True)
class Row:
    """Operators of one cost.

    Attributes:
        names: Operators of ONNX.
        fused: Operators of ONNX Runtime.
        nodes: Nodes that the graph has for one of them.
        flops: Multiply-accumulates.
        moved: Data whose bytes count.
    """

    names: str
    fused: str
    nodes: str
    flops: str = "0"
    moved: str = PLAIN


ROWS = (
    Row(
        "Conv ConvInteger QLinearConv CausalConvWithState",
        "FusedConv NhwcConv NhwcFusedConv QLinearConv Conv CausalConvWithState",
        "`Conv`, then the sum and the activation that are fused with it",
        "output pixels × output channels × input channels / groups × window",
    ),
    Row(
        "DeformConv",
        "",
        "`Gather` of a window a pixel, and a `Conv` of one pixel",
        "those of a convolution",
    ),
    Row(
        "ConvTranspose",
        "",
        "`ConvTranspose`",
        "input pixels × input channels × output channels / groups × window",
    ),
    Row(
        "Gemm MatMul MatMulInteger QLinearMatMul",
        "FusedMatMul TransposeMatMul FusedMatMulActivation FusedGemm GemmFastGelu MatMulNBits "
        "MatMulIntegerToFloat DynamicQuantizeMatMul MatMulBnb4 QGemm QLinearMatMul",
        "`Gemm` by a constant matrix, `MatMul` of two tensors; `Transpose`, bias and activation as "
        "the operator has them",
        "elements of the output × features that are summed",
    ),
    Row(
        "Einsum",
        "",
        "a product of two operands at a time, from the left: `Transpose`, `Gemm` or `MatMul`; "
        "`Mul` where nothing is summed",
        "elements of each product × elements that are summed",
    ),
    Row(
        "DFT STFT",
        "",
        "`DFT`; before it a `Gather` of the frames and a `Mul` by their window",
        "numbers of the output × log2 of the length, rounded up, as of a fast transform",
    ),
    Row(
        "Det",
        "",
        "one node; PyTorch's `Inverse`, `Cholesky`, `Solve` and `TriangularSolve` likewise",
        "n³/3 for n rows; an inverse n³, a Cholesky factor n³/6, a solution for k right sides "
        "n³/3 + n²·k, by a triangular matrix n²·k/2",
        "what it reads and writes",
    ),
    Row(
        "LSTM GRU RNN",
        "DynamicQuantizeLSTM",
        "`Gemm` of all inputs, a `Gemm` a step by the matrix of states (a node holds several steps "
        "beyond 1,000), and an `LSTM`, `GRU` or `RNN` for the gates",
        "steps × sequences × directions × gates × hidden × (inputs + hidden); gates are 4, 3 or 1; "
        "an LSTM that projects has its projection a step as well",
        "the matrix of states at each step, the gates twice, the outputs",
    ),
    Row(
        "Attention FlexAttention",
        "Attention QAttention MultiHeadAttention GroupQueryAttention",
        "`MatMul`, `Add` of a mask, `Softmax`, `MatMul`; before them the projections, the cache "
        "(`Concat`) and the rotation that the operator has",
        "heads × words that ask × words that are asked × (features of a key + of a value)",
    ),
    Row(
        "LinearAttention",
        "LinearAttention",
        "`MatMul` of keys and values, and of queries and that state; two more by a delta rule",
        "heads that are asked × words × features of a key × of a value, and the same by each head "
        "that asks",
    ),
    Row(
        "Relu LeakyRelu PRelu Elu Celu Selu Silu Swish Mish HardSwish HardSigmoid Sigmoid Tanh "
        "Softplus Softsign Gelu Erf Clip Softmax LogSoftmax Hardmax ThresholdedRelu Shrink SwiGLU",
        "Gelu FastGelu BiasGelu QuickGelu BiasSplitGelu BiasSoftmax QLinearSigmoid "
        "QLinearLeakyRelu QLinearSoftmax",
        "one node each; what an exporter takes apart is one node again; a bias is an `Add`",
    ),
    Row(
        "Add Sub Mul Div Pow Sqrt Exp Log Neg Abs Reciprocal Min Max Sum Mean Floor Ceil Round Sin "
        "Cos Tan Asin Acos Atan Sinh Cosh Asinh Acosh Atanh Sign Mod Where Equal Greater Less "
        "GreaterOrEqual LessOrEqual Not And Or Xor IsNaN IsInf BitShift BitwiseAnd BitwiseOr "
        "BitwiseXor BitwiseNot BitCast Trilu RotaryEmbedding",
        "BiasAdd QLinearAdd QLinearMul QLinearWhere RotaryEmbedding",
        "one node each; a constant that is added to a product is its bias",
    ),
    Row(
        "BatchNormalization InstanceNormalization GroupNormalization LayerNormalization "
        "RMSNormalization LpNormalization LRN MeanVarianceNormalization "
        "SimplifiedLayerNormalization",
        "LayerNormalization SimplifiedLayerNormalization SkipLayerNormalization "
        "SkipSimplifiedLayerNormalization EmbedLayerNormalization GroupNorm",
        "one node each, none for a BatchNormalization after a convolution; sums and `Gather` "
        "before them as the operator has them",
    ),
    Row(
        "MaxPool AveragePool LpPool GlobalAveragePool GlobalMaxPool",
        "NhwcMaxPool MaxPool AveragePool GlobalAveragePool GlobalMaxPool QLinearAveragePool "
        "QLinearGlobalAveragePool",
        "one node each",
    ),
    Row(
        "ReduceMean ReduceSum ReduceMax ReduceMin ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp "
        "ReduceSumSquare ReduceProd ArgMax ArgMin TopK CumSum CumProd",
        "QLinearReduceMean",
        "one node each",
    ),
    Row(
        "Transpose Concat Split Slice Gather Pad Expand Tile Resize Upsample DepthToSpace "
        "SpaceToDepth GatherElements GatherND Scatter ScatterElements ScatterND TensorScatter "
        "OneHot Compress ReverseSequence CenterCropPad Col2Im MaxUnpool GridSample AffineGrid "
        "RoiAlign MaxRoiPool Range ConstantOfShape EyeLike Shape Size",
        "QLinearConcat GatherBlockQuantized",
        "one node each, a `Slice` for each part of a Split; none where they change nothing, or "
        "where shapes alone decide what they write",
        moved="what it reads and writes; of a table of constants the rows that it writes",
    ),
    Row(
        "Reshape Flatten Squeeze Unsqueeze",
        "",
        "one `Reshape` for all in a row",
        moved="nothing",
    ),
    Row("Identity Dropout", "ReorderInput ReorderOutput", "none", moved="nothing"),
    Row(
        "Cast CastLike QuantizeLinear DequantizeLinear DynamicQuantizeLinear",
        "QuantizeLinear DequantizeLinear",
        "one node each; none where an engine joins them with the operator between them, which then "
        "reads and writes integers, or with a norm or a softmax",
    ),
)


def read_operators() -> set[str]:
    """The operators whose cost is known: those of a graph, of ONNX, and of ONNX Runtime."""
    fused = {op for forms in FUSED.values() for op in forms}
    # PyTorch alone has the other factorisations.
    others = {"Input", "Output"} | (TRANSFORMS - set(HANDLED))
    return (set(KNOWN_OPS) | set(HANDLED) | fused) - others


@section("operators")
def operators() -> str:
    """Write the table of operators."""
    rows = [[_code(row.names), _code(row.fused), row.nodes, row.flops, row.moved] for row in ROWS]
    return table(
        "ONNX | ONNX Runtime | nodes of the graph | FLOPs | bytes of",
        [
            *rows,
            ["any other", "any other", "one node of its name", "0", PLAIN],
        ],
    )


@section("optimised-files")
def optimised_files() -> str:
    """Write how versions of networks by ONNX Runtime's tools are read."""
    result = load("optimised_files")
    by_version = grouped(result["rows"], "version")
    rows = []
    for (title,), files in by_version.items():
        read = [row for row in files if "refused" not in row]
        unknown = sum(bool(row["not_modelled"]) for row in read)
        ratios = [_range([row[cost] for row in read]) for cost in ("flops", "params", "bytes")]
        rows.append([title, f"{len(read)} of {len(files)}", f"{unknown}", *ratios])
    packages = result["packages"]
    return (
        table(
            "version | read | with operators that are not modelled | FLOPs | parameters | bytes",
            rows,
        )
        + "\n\nFLOPs, parameters and bytes are ratios to the exported file: the smallest and the "
        f"largest of {len({row['network'] for row in result['rows']})} networks of timm (ONNX "
        f"Runtime {packages['onnxruntime']})."
    )


def _range(values: Sequence[float]) -> str:
    ends = [f"{end:.4g}" for end in (min(values), max(values))]
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def _code(names: str) -> str:
    return ", ".join(f"`{name}`" for name in names.split()) or "–"
