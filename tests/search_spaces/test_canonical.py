"""The canonical form of a network."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasplug.search_spaces import InputError
from nasplug.search_spaces.canonical import canonical
from nasplug.search_spaces.operators import Operator
from nasplug.search_spaces.pricing import network_graph

IMAGE = Operator("Input", (), (1, 4, 8, 8))
CONV = Operator("Conv", (0,), (1, 6, 8, 8), (6, 4, 3, 3), kernel=(3, 3))


def unary(op: str, source: int, shape: tuple[int, ...] = (1, 6, 8, 8), **more) -> Operator:
    return Operator(op, (source,), shape, **more)


def names(operators: list[Operator]) -> list[str]:
    return [one.op for one in operators]


def row(graph, node: int) -> dict[str, float]:
    from nasplug.search_spaces import ATTRIBUTES

    return dict(zip(ATTRIBUTES, graph.attributes[node].tolist(), strict=True))


# --- rewriting ---------------------------------------------------------------------------------


def test_batch_norm_is_folded_into_the_convolution_before_it():
    found = canonical([IMAGE, CONV, unary("BatchNormalization", 1, other_params=24)])
    assert found == [IMAGE, replace(CONV, bias=True)]


def test_batch_norm_stays_if_the_convolution_has_another_reader():
    net = [IMAGE, CONV, unary("BatchNormalization", 1, other_params=24)]
    net.append(Operator("Add", (1, 2), (1, 6, 8, 8)))
    found = canonical(net)
    assert names(found) == ["Input", "Conv", "BatchNormalization", "Add"]
    assert not found[1].bias
    assert found[2].other_params == 2 * 6  # one scale and one shift, however it was stored


def test_batch_norm_stays_if_the_convolution_is_an_output():
    net = [IMAGE, CONV, unary("BatchNormalization", 1)]
    assert network_graph(net, [1, 2]).ops == ("Input", "Conv", "BatchNormalization", "Output")
    assert network_graph(net, [2]).ops == ("Input", "Conv", "Output")


def test_batch_norm_of_a_sequence_is_not_folded_into_a_linear_layer():
    # It normalises axis 1, which holds positions here, not the features of the Gemm.
    sequence = Operator("Input", (), (1, 5, 4))
    gemm = Operator("Gemm", (0,), (1, 5, 6), (6, 4), bias=True)
    vector = [Operator("Input", (), (1, 4)), replace(gemm, shape=(1, 6))]
    norm = Operator("BatchNormalization", (1,), (1, 5, 6))
    assert len(canonical([sequence, gemm, norm])) == 3
    assert len(canonical([*vector, replace(norm, shape=(1, 6))])) == 2


def test_idle_operators_go_and_let_others_meet():
    net = [IMAGE, CONV, unary("Identity", 1), unary("BatchNormalization", 2), unary("Dropout", 3)]
    assert canonical([*net, unary("Relu", 4)]) == [
        IMAGE,
        replace(CONV, bias=True),
        unary("Relu", 1),
    ]


def test_added_constant_becomes_the_bias():
    assert canonical([IMAGE, CONV, unary("Add", 1, other_params=6)])[-1].bias
    # A constant of another size is no bias.
    kept = canonical([IMAGE, CONV, unary("Add", 1, other_params=64)])
    assert names(kept) == ["Input", "Conv", "Add"]


def test_product_with_a_constant_matrix_is_a_gemm():
    tokens = Operator("Input", (), (1, 5, 4))
    product = Operator("MatMul", (0,), (1, 5, 6), (6, 4))
    added = Operator("Add", (1,), (1, 5, 6), other_params=6)
    found = canonical([tokens, product, added])
    assert found == [tokens, replace(product, op="Gemm", bias=True)]
    # Of two results it stays a product.
    other = Operator("Transpose", (0,), (1, 4, 5))
    scores = Operator("MatMul", (0, 1), (1, 5, 5))
    assert names(canonical([tokens, other, scores])) == ["Input", "Transpose", "MatMul"]


@pytest.mark.parametrize(("gate", "name"), [("Sigmoid", "Silu"), ("HardSigmoid", "HardSwish")])
@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_gate_of_itself_is_one_activation(gate, name, order):
    net = [IMAGE, CONV, unary(gate, 1), Operator("Mul", order, (1, 6, 8, 8))]
    assert canonical(net) == [IMAGE, CONV, unary(name, 1)]


def test_gate_of_something_else_or_with_other_readers_stays():
    squeeze = [IMAGE, CONV, unary("GlobalAveragePool", 1, (1, 6, 1, 1))]
    squeeze += [unary("Sigmoid", 2, (1, 6, 1, 1)), Operator("Mul", (1, 3), (1, 6, 8, 8))]
    assert names(canonical(squeeze)) == ["Input", "Conv", "GlobalAveragePool", "Sigmoid", "Mul"]
    shared = [IMAGE, CONV, unary("Sigmoid", 1), Operator("Mul", (1, 2), (1, 6, 8, 8))]
    shared.append(Operator("Add", (2, 3), (1, 6, 8, 8)))
    assert names(canonical(shared)) == ["Input", "Conv", "Sigmoid", "Mul", "Add"]


@pytest.mark.parametrize(
    "pool",
    [
        [unary("GlobalAveragePool", 0, (1, 4, 1, 1)), unary("Flatten", 1, (1, 4))],
        [unary("ReduceMean", 0, (1, 4))],
        [unary("ReduceMean", 0, (1, 4, 1, 1)), unary("Squeeze", 1, (1, 4))],
        [unary("AveragePool", 0, (1, 4, 1, 1), kernel=(8, 8)), unary("Reshape", 1, (1, 4))],
    ],
)
def test_every_spelling_of_the_global_pool_is_one(pool):
    assert canonical([IMAGE, *pool]) == [
        IMAGE,
        unary("GlobalAveragePool", 0, (1, 4, 1, 1)),
        unary("Reshape", 1, (1, 4)),
    ]


def test_means_over_other_axes_and_small_windows_stay():
    tokens = Operator("Input", (), (1, 5, 4))
    assert names(canonical([tokens, unary("ReduceMean", 0, (1, 4))])) == ["Input", "ReduceMean"]
    window = unary("AveragePool", 0, (1, 4, 1, 1), kernel=(3, 3), stride=(8, 8))
    assert names(canonical([IMAGE, window])) == ["Input", "AveragePool"]


def test_chain_of_reshapes_is_one_or_none():
    chain = [IMAGE, unary("Flatten", 0, (1, 256)), unary("Unsqueeze", 1, (1, 1, 256))]
    assert canonical(chain) == [IMAGE, unary("Reshape", 0, (1, 1, 256))]
    back = [*chain, unary("Reshape", 2, (1, 4, 8, 8)), unary("Relu", 3, (1, 4, 8, 8))]
    assert canonical(back) == [IMAGE, unary("Relu", 0, (1, 4, 8, 8))]
    # A reader in the middle keeps its own.
    forked = [*chain, unary("Relu", 1, (1, 256)), Operator("Concat", (2, 3), (1, 512))]
    assert names(canonical(forked)) == ["Input", "Reshape", "Reshape", "Relu", "Concat"]


def test_what_no_output_needs_is_dropped():
    net = [IMAGE, CONV, unary("Relu", 1), unary("Sigmoid", 1)]
    assert network_graph(net, [2]).ops == ("Input", "Conv", "Relu", "Output")
    assert network_graph([*net, IMAGE], [3]).ops == ("Input", "Conv", "Sigmoid", "Output")


def test_order_does_not_depend_on_the_source():
    a = [IMAGE, CONV, unary("Relu", 1), unary("Sigmoid", 1)]
    a.append(Operator("Concat", (2, 3), (1, 12, 8, 8)))
    b = [IMAGE, CONV, unary("Sigmoid", 1), unary("Relu", 1)]
    b.append(Operator("Concat", (3, 2), (1, 12, 8, 8)))
    first, second = network_graph(a, [4]), network_graph(b, [4])
    assert (first.ops, first.edges) == (second.ops, second.edges)
    assert np.array_equal(first.attributes, second.attributes)


@pytest.mark.parametrize(
    ("net", "outputs", "words"),
    [
        ([IMAGE, unary("Relu", 1)], [1], "operator 1 .*Relu.* earlier ones only"),
        ([IMAGE, unary("Relu", -1)], [1], "earlier ones only"),
        ([Operator("Input", (), (2, 3))], [0], r"shape \(2, 3\); expected .* the first of them 1"),
        ([Operator("Input", (), (1, 0))], [0], "positive sizes"),
        ([Operator("Input", (), ())], [0], "positive sizes"),
        ([IMAGE], [], "no output"),
        ([IMAGE], [1], "output 1 names none"),
    ],
)
def test_bad_networks_are_refused(net, outputs, words):
    with pytest.raises(InputError, match=words):
        network_graph(net, outputs)


OPS = ["Relu", "Sigmoid", "Identity", "Dropout", "BatchNormalization", "Add", "Mul", "Conv", "Foo"]


@st.composite
def networks(draw):
    """Random networks of one shape, with constants, gates and repeated readers."""
    net = [Operator("Input", (), (1, 4, 5, 5))]
    for _ in range(draw(st.integers(1, 12))):
        op = draw(st.sampled_from(OPS))
        a, b = (draw(st.integers(0, len(net) - 1)) for _ in range(2))
        if op == "Conv":
            net.append(Operator(op, (a,), (1, 4, 5, 5), (4, 4, 1, 1), kernel=(1, 1)))
        elif op in ("Add", "Mul"):
            inputs = draw(st.sampled_from([(a,), (a, b)]))
            net.append(Operator(op, inputs, (1, 4, 5, 5), other_params=4 * (len(inputs) == 1)))
        else:
            net.append(Operator(op, (a,), (1, 4, 5, 5)))
    read = {k for one in net for k in one.inputs}
    ends = tuple(k for k in range(len(net)) if k not in read)
    return [*net, Operator("Concat", ends, (1, 4 * len(ends), 5, 5))]


def evaluate(net: list[Operator], output: int) -> float:
    """One number that depends on the whole computation, with a folded Conv as Conv + 1."""
    values: list[float] = []
    for one in net:
        x = [values[k] for k in one.inputs]
        if one.op == "Input":
            values.append(0.37)
        elif one.op in ("Identity", "Dropout"):
            values.append(x[0])
        elif one.op == "Add":
            values.append(sum(x) if len(x) > 1 else x[0])
        elif one.op == "Mul":
            values.append(math.prod(x) if len(x) > 1 else 1.7 * x[0])
        elif one.op == "Silu":
            values.append(x[0] * 0.9 * math.sin(x[0]))
        elif one.op == "Sigmoid":
            values.append(0.9 * math.sin(x[0]))
        elif one.op == "Conv":
            values.append(math.cos(x[0]))
        elif one.op == "BatchNormalization":
            values.append(x[0])
        elif one.op == "Concat":
            values.append(sum((k + 1) * value for k, value in enumerate(x)))
        else:
            values.append(x[0] + {"Relu": 0.11, "Foo": 0.23}[one.op])
    return values[output]


@settings(max_examples=150)
@given(networks())
def test_rewriting_keeps_the_function_and_is_final(net):
    found = canonical(net)
    # A norm and an added constant are identities of `evaluate`, so that folding them is exact.
    assert evaluate(found, -1) == pytest.approx(evaluate(net, -1), rel=1e-9)
    assert canonical(found) == found
    assert not {"Identity", "Dropout"} & set(names(found))
    assert all(k < i for i, one in enumerate(found) for k in one.inputs)
