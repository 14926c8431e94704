"""Write the word vectors that ship with the package, from WordLlama's own files.

    python -m experiments.zoo.make_language_vectors

Needs `pip install "nasplug[language]"`. The same bytes on every run: predictors/
language_vectors.npz holds, for each word of the texts of usual operators and of the hardware
catalogue and for each character of a number, the sum of its token vectors (float16) and the number
of its tokens; those texts of operators; and the texts of platforms by which trained predictors
standardise, which stay as they are when a device is added.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np

from experiments import ROOT
from nasplug.devices.catalogue import catalogue
from nasplug.predictors.features.language import (
    NUMBER_START,
    VECTORS_FILE,
    hardware_text,
    load_wordllama,
    operator_text,
    shipped_texts,
    text_words,
)
from nasplug.predictors.hardware import PRECISIONS
from nasplug.search_spaces import ATTRIBUTES, Graph, space
from nasplug.search_spaces.files import write_bytes

FOLDER = ROOT / "predictors" / "features"
NB101 = ("input", "conv1x1-bn-relu", "conv3x3-bn-relu", "maxpool3x3", "output")
# ONNX operator types, by the attributes that they usually have.
WINDOWED = {"Conv": (1, 3, 5, 7), "MaxPool": (2, 3), "AveragePool": (2, 3), "ConvTranspose": (2, 3)}
PLAIN = (
    *("Input", "Output", "Identity", "Zero", "Constant", "Gemm", "Linear", "MatMul", "Add", "Sub"),
    *("Mul", "Div", "Pow", "Sqrt", "Exp", "Log", "Neg", "Abs", "Erf", "Max", "Min", "Sum", "Mean"),
    *("Relu", "LeakyRelu", "PRelu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Swish", "Silu"),
    *("Elu", "Selu", "Gelu", "Mish", "Tanh", "Softmax", "LogSoftmax", "Softplus", "Attention"),
    *("BatchNormalization", "LayerNormalization", "InstanceNormalization", "GroupNormalization"),
    *("RMSNormalization", "LpNormalization", "LRN", "Dropout", "Concat", "Split", "Slice"),
    *("Gather", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Expand", "Tile", "Pad"),
    *("Shape", "GlobalAveragePool", "GlobalMaxPool", "AdaptiveAveragePool", "ReduceMean"),
    *("ReduceSum", "ReduceMax", "Resize", "Upsample", "DepthToSpace", "SpaceToDepth"),
    *("ChannelShuffle", "Cast"),
    *("Where", "Equal", "ArgMax", "Einsum", "Embedding", "LSTM", "GRU", "sep_conv", "dil_conv"),
)


def node_text(op: str, **attributes: float) -> str:
    """The text of one node with these attributes."""
    row = np.array([[attributes.get(name, 0.0) for name in ATTRIBUTES]])
    return operator_text(Graph((op,), (), row), 0)


def operators() -> list[str]:
    """Texts of the operators of the built-in cell spaces and of usual whole networks."""
    nb201 = space("nb201")
    texts = [
        operator_text(graph, node)
        for graph in nb201.to_graphs([nb201[k] for k in range(100)])  # type: ignore[index]
        for node in range(len(graph))
    ]
    texts += [node_text(op) for op in (*NB101, *PLAIN)]
    for op, kernels in WINDOWED.items():
        for kernel in kernels:
            texts += [node_text(op, kernel=kernel, stride=stride) for stride in (1, 2)]
    for kernel in (3, 5, 7):
        for stride in (1, 2):
            sizes = {"kernel": kernel, "stride": stride}
            texts.append(node_text("Conv", **sizes, groups=32, in_channels=32))
            texts.append(node_text("Conv", **sizes, groups=32, in_channels=256))
    # Operators with a constant operand, whose class the node's parameters decide.
    texts += [node_text(op, params=1) for op in ("MatMul", "Add", "Mul", "PRelu")]
    return list(dict.fromkeys(texts))


def main() -> None:
    encode = load_wordllama()
    if encode is None:
        sys.exit('needs WordLlama: pip install "nasplug[language]"')
    import wordllama

    model = wordllama.WordLlama.load(
        cache_dir=str(Path(wordllama.__file__).parent), disable_download=True
    )
    operator, devices = operators(), catalogue()
    # A device more would move mean and deviation, and with them every new fit.
    platform = list(shipped_texts("platform"))
    everywhere = [hardware_text(d, name) for d in devices for name in d.peak_tflops]
    words = {word for text in (*operator, *everywhere) for word in text_words(text)}
    # Every number and every precision, whether or not a device of the catalogue has it.
    words |= {NUMBER_START, *"0123456789.W", *(name.upper() for name in PRECISIONS)}

    tokens = model.tokenizer
    sums, counts = [], []
    for word in sorted(words):
        if word in {NUMBER_START, *"0123456789.W"}:
            ids = [tokens.token_to_id(word)]
        else:
            ids = tokens.encode(word, add_special_tokens=False).ids
        sums.append(model.embedding[ids].sum(0))
        counts.append(len(ids))
    buffer = io.BytesIO()
    np.savez(
        buffer,
        words=np.array(sorted(words)),
        sums=np.array(sums, dtype=np.float16),
        tokens=np.array(counts, dtype=np.int64),
        operator=np.array(operator),
        platform=np.array(platform),
    )
    path = FOLDER / VECTORS_FILE
    write_bytes(path, buffer.getvalue())
    print(f"wrote {path}: {len(words)} words, {len(buffer.getvalue())} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
