"""Attention of ONNX files and of ONNX Runtime, as products of matrices.

Notation: B sentences, L words that ask, S words that are asked, N heads that ask, M heads that are
asked (N/M ask each of them), D features a head.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from nasplug.search_spaces.importers.onnx_expansion import Expansion
from nasplug.search_spaces.importers.onnx_node import Constant

__all__ = ["ATTENTIONS", "PREVIEWED_ATTENTIONS", "STANDARD_ATTENTIONS"]

Form = Callable[[Expansion], None]


@dataclass
class _Heads:
    """A tensor `(B, heads, words, D)`."""

    name: str
    heads: int
    words: int
    features: int


def _split_heads(expansion: Expansion, name: str, words: int, features: int, heads: int) -> _Heads:
    """Append the view of features `(B, words, heads·D)` as heads.

    Raises:
        InputError: If the heads do not divide the features.
    """
    if heads < 1 or features % heads:
        raise expansion.wrong(f"{features} features are not those of {heads} heads")
    split = expansion.reshape(name, 0, 0, heads, features // heads)
    turned = expansion.add("Transpose", [split], perm=(0, 2, 1, 3))
    return _Heads(turned, heads, words, features // heads)


def _heads(expansion: Expansion, k: int, heads: int) -> _Heads:
    """Read input `k`, `(B, words, heads·D)` or `(B, heads, words, D)`."""
    shape = expansion.shape(k, 3, 4)
    if len(shape) == 4:
        return _Heads(expansion.input(k), *shape[1:])
    return _split_heads(expansion, expansion.input(k), shape[1], shape[2], heads)


def _with_past(expansion: Expansion, now: _Heads, past: int, present: int) -> _Heads:
    """Append the words of a cache, input `past`; all of them are output `present`."""
    words = expansion.shape(past, 4)[2] if expansion.input(past) else 0
    name = now.name
    if words:
        name = expansion.add("Concat", [expansion.input(past), name], axis=2)
    expansion.finish(name, present)
    return _Heads(name, now.heads, now.words + words, now.features)


def _attend(
    expansion: Expansion,
    query: _Heads,
    key: _Heads,
    value: _Heads,
    mask: str = "",
    causal: bool = False,
    written: int | None = None,
) -> _Heads:
    """Append softmax(q·kᵀ + mask)·v; heads that ask the same ones are rows of one product.

    A boolean mask is added as numbers are. Output `written` is q·kᵀ.
    """
    if key.heads < 1 or query.heads % key.heads or key.words != value.words:
        raise expansion.wrong(
            f"{query.heads} heads ask {key.heads} heads of {key.words} and {value.words} words"
        )
    asked = query.name
    shared = query.heads // key.heads
    rows = query.words * shared
    if shared > 1:
        asked = expansion.reshape(asked, 0, key.heads, rows, query.features)
    turned = expansion.add("Transpose", [key.name], perm=(0, 1, 3, 2))
    scores = expansion.add("MatMul", [asked, turned])
    if written is not None and expansion.output(written):
        expansion.finish(expansion.reshape(scores, 0, query.heads, query.words, key.words), written)
    if mask or causal:
        if shared > 1:
            scores = expansion.reshape(scores, 0, query.heads, query.words, key.words)
        mask = mask or expansion.constant(Constant((query.words, key.words), 1))
        scores = expansion.add("Add", [scores, expansion.add("CastLike", [mask, scores])])
        if shared > 1:
            scores = expansion.reshape(scores, 0, key.heads, rows, key.words)
    weights = expansion.add("Softmax", [scores], axis=-1)
    result = expansion.add("MatMul", [weights, value.name])
    if shared > 1:
        result = expansion.reshape(result, 0, query.heads, query.words, value.features)
    return _Heads(result, query.heads, query.words, value.features)


def _join_heads(expansion: Expansion, result: _Heads) -> None:
    """Append the view of heads side by side, as output 0."""
    turned = expansion.add("Transpose", [result.name], perm=(0, 2, 1, 3))
    joined = expansion.reshape(turned, 0, 0, result.heads * result.features)
    expansion.finish(joined)


def _standard(expansion: Expansion) -> None:
    """Append ONNX's Attention."""
    asked, own = expansion.whole("q_num_heads", 0), expansion.whole("kv_num_heads", 0)
    sentences = [expansion.shape(k, 3, 4)[0] for k in range(3)]
    if len(set(sentences)) > 1:
        raise expansion.wrong(f"it reads tensors of {sentences} sentences")
    query = _heads(expansion, 0, asked)
    key = _with_past(expansion, _heads(expansion, 1, own), 4, 1)
    value = _with_past(expansion, _heads(expansion, 2, own), 5, 2)
    causal = bool(expansion.whole("is_causal", 0))
    mask = expansion.input(3)
    if mask:
        shape = expansion.shape(3)
        if shape and 1 < shape[-1] < key.words:
            # Words of a cache beyond the mask are not asked.
            pads = [0] * (2 * len(shape) - 1) + [key.words - shape[-1]]
            mask = expansion.add("Pad", [mask, expansion.ints(*pads)])
    result = _attend(expansion, query, key, value, mask, causal, written=3)
    if len(expansion.shape(0)) == 3:
        _join_heads(expansion, result)
    else:
        expansion.finish(result.name)


def _packed(expansion: Expansion, k: int, parts: int) -> list[_Heads]:
    """Read an input `(B, words, heads, parts, D)` that holds several tensors."""
    _, words, heads, _, features = expansion.shape(k, 5)
    found = []
    for part in range(parts):
        name = expansion.slice(expansion.input(k), 3, part, part + 1)
        name = expansion.reshape(name, 0, 0, heads, features)
        name = expansion.add("Transpose", [name], perm=(0, 2, 1, 3))
        found.append(_Heads(name, heads, words, features))
    return found


def _biased(expansion: Expansion, k: int, start: int, size: int) -> str:
    """Append the sum of input `k` and its part of the bias, input 3."""
    bias = expansion.slice(expansion.input(3), 0, start, start + size)
    return expansion.add("Add", [expansion.input(k), bias])


def _multi_head(expansion: Expansion) -> None:
    """Append ONNX Runtime's MultiHeadAttention."""
    heads = expansion.whole("num_heads")
    ranks = [len(expansion.shape(k)) if expansion.input(k) else 0 for k in range(3)]
    if ranks[0] == 5:
        query, key, value = _packed(expansion, 0, 3)
    elif ranks[1] == 5:
        query = _heads(expansion, 0, heads)
        key, value = _packed(expansion, 1, 2)
    else:
        operands = []
        start = 0
        for k in range(3):
            shape = expansion.shape(k)
            name = expansion.input(k)
            if expansion.input(3) and len(shape) == 3:
                name = _biased(expansion, k, start, shape[2])
                start += shape[2]
            if len(shape) == 3:
                operands.append(_split_heads(expansion, name, shape[1], shape[2], heads))
            else:
                operands.append(_heads(expansion, k, heads))
        query, key, value = operands
    key, value = _with_past(expansion, key, 6, 1), _with_past(expansion, value, 7, 2)
    causal = bool(expansion.whole("unidirectional", 0))
    _join_heads(expansion, _attend(expansion, query, key, value, expansion.input(5), causal))


def _grouped(expansion: Expansion) -> None:
    """Append ONNX Runtime's GroupQueryAttention, with its rotation of words' places."""
    asked, own = expansion.whole("num_heads"), expansion.whole("kv_num_heads")
    if min(asked, own) < 1:
        raise expansion.wrong(f"{asked} heads cannot ask {own} heads")
    words = expansion.shape(0, 3)[1]
    if expansion.input(1):
        features = [expansion.shape(k, 3)[-1] for k in range(3)]
        names = [expansion.input(k) for k in range(3)]
    else:
        size = expansion.shape(0)[-1] // (asked + 2 * own)
        features = [asked * size, own * size, own * size]
        names, start = [], 0
        for width in features:
            names.append(expansion.slice(expansion.input(0), 2, start, start + width))
            start += width
    if expansion.whole("do_rotary", 0) and expansion.input(7):
        caches = expansion.inputs(7, 8)
        for k, heads in ((0, asked), (1, own)):
            parts = [names[k], *(_places(expansion, name, words) for name in caches)]
            names[k] = expansion.add("RotaryEmbedding", parts, num_heads=heads)
    query, key, value = (
        _split_heads(expansion, name, words, width, heads)
        for name, width, heads in zip(names, features, (asked, own, own), strict=True)
    )
    key, value = _with_past(expansion, key, 3, 1), _with_past(expansion, value, 4, 2)
    _join_heads(expansion, _attend(expansion, query, key, value, expansion.input(10)))


def _places(expansion: Expansion, cache: str, words: int) -> str:
    """Append the part of a table of rotations for the words, `(1, words, D/2)`."""
    return expansion.reshape(expansion.slice(cache, 0, 0, words), 1, words, -1)


def _merged(expansion: Expansion, past: int, mask: int, quantised: bool = False) -> None:
    """Append ONNX Runtime's Attention, whose three projections are one product.

    Args:
        expansion: Where to append.
        past: Input of the cache, keys and values in one tensor `(2, B, N, S, D)`.
        mask: Input of what is added to the scores.
        quantised: Whether input and weights are integers, with scales as inputs 3 and 4.
    """
    heads = expansion.whole("num_heads")
    operands = expansion.inputs(0, 1)
    if quantised:
        operands = [
            expansion.add("DequantizeLinear", [expansion.input(k) for k in slots])
            for slots in ((0, 3), (1, 4))
        ]
    product = expansion.add("MatMul", operands)
    if expansion.input(2):
        product = expansion.add("Add", [product, expansion.input(2)])
    words, width = expansion.shape(0, 3)[1], expansion.shape(1, 2)[1]
    sizes = expansion.sizes("qkv_hidden_sizes") or (width // 3,) * 3
    if len(sizes) != 3 or sum(sizes) != width:
        raise expansion.wrong(f"{width} features are not those of three projections")
    parts, start = [], 0
    for size in sizes:
        part = expansion.slice(product, 2, start, start + size)
        parts.append(_split_heads(expansion, part, words, size, heads))
        start += size
    query, key, value = parts
    if expansion.input(past) and 0 not in expansion.shape(past):
        key, value = _with_merged_past(expansion, key, value, past)
    elif expansion.output(1):
        _finish_present(expansion, key, value)
    causal = bool(expansion.whole("unidirectional", 0))
    _join_heads(expansion, _attend(expansion, query, key, value, expansion.input(mask), causal))


def _with_merged_past(
    expansion: Expansion, key: _Heads, value: _Heads, past: int
) -> tuple[_Heads, _Heads]:
    """Append the words of a cache that holds keys and values in one tensor."""
    shape = expansion.shape(past, 5)
    found = []
    for k, now in enumerate((key, value)):
        part = expansion.slice(expansion.input(past), 0, k, k + 1)
        part = expansion.reshape(part, *shape[1:])
        name = expansion.add("Concat", [part, now.name], axis=2)
        found.append(_Heads(name, now.heads, now.words + shape[3], now.features))
    _finish_present(expansion, *found)
    return found[0], found[1]


def _finish_present(expansion: Expansion, key: _Heads, value: _Heads) -> None:
    """Append the cache for the next words, output 1."""
    if expansion.output(1):
        parts = [
            expansion.reshape(now.name, 1, -1, now.heads, now.words, now.features)
            for now in (key, value)
        ]
        expansion.add("Concat", parts, expansion.output(1), axis=0)


def _flexible(expansion: Expansion) -> None:
    """Append attention whose scores a graph of its own changes, as if by a mask."""
    query, key, value = (_heads(expansion, k, 0) for k in range(3))
    is_changed = expansion.has("score_mod") or expansion.has("prob_mod")
    expansion.finish(_attend(expansion, query, key, value, causal=is_changed).name)


def _linear(expansion: Expansion) -> None:
    """Append attention without a softmax: keys by values are a state, which queries read.

    The products are those of all words at once, as engines compute them in chunks.
    """
    asked, own = expansion.whole("q_num_heads"), expansion.whole("kv_num_heads")
    query = _heads(expansion, 0, asked)
    key, value = _heads(expansion, 1, own), _heads(expansion, 2, own)
    if query.heads % key.heads:
        raise expansion.wrong(f"{query.heads} heads ask {key.heads} heads")
    turned = expansion.add("Transpose", [key.name], perm=(0, 1, 3, 2))
    if "delta" in expansion.text("update_rule"):
        # What the state says already is taken from the values.
        state = expansion.add("MatMul", [turned, value.name])
        known = expansion.add("MatMul", [key.name, state])
        value.name = expansion.add("Sub", [value.name, known])
    state = expansion.add("MatMul", [turned, value.name])
    if expansion.input(3):
        state = expansion.add("Add", [state, expansion.input(3)])
    expansion.finish(state, 1)
    rows = query.words * (query.heads // key.heads)
    read = expansion.reshape(query.name, 0, key.heads, rows, query.features)
    result = expansion.add("MatMul", [read, state])
    result = expansion.reshape(result, 0, query.heads, query.words, value.features)
    _join_heads(expansion, _Heads(result, query.heads, query.words, value.features))


STANDARD_ATTENTIONS: dict[str, Form] = {"Attention": _standard, "LinearAttention": _linear}
PREVIEWED_ATTENTIONS: dict[str, Form] = {"FlexAttention": _flexible}
ATTENTIONS: dict[str, Form] = {
    "LinearAttention": _linear,
    "Attention": partial(_merged, past=4, mask=5),
    "QAttention": partial(_merged, past=8, mask=-1, quantised=True),
    "MultiHeadAttention": _multi_head,
    "GroupQueryAttention": _grouped,
}
