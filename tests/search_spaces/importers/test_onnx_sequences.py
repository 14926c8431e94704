"""Sequences and optional values of ONNX files, where they are only passed on."""

import pytest
from onnx import parser

from nasplug.search_spaces import InputError
from nasplug.search_spaces.importers.onnx_graph import onnx_graph


def read(nodes, constants="", x="float[1, 6, 4] x", outputs="float[] y"):
    names = "<int64 zero = {0}, int64 one = {1}, int64 two = {2}, int64[3] parts = {1, 2, 3}"
    text = f"g ({x}) => ({outputs}) {names}{constants}> {{ {nodes} }}"
    return onnx_graph(parser.parse_model(f'<ir_version: 10, opset_import: ["" : 17]> {text}'))


def height(graph, op):
    return sorted(
        int(size)
        for name, size in zip(graph.ops, graph.attribute("height"), strict=True)
        if name == op
    )


@pytest.mark.parametrize(
    ("split", "heights"),
    [
        ("SplitToSequence <axis = 1> (x, parts)", [1, 2, 3]),
        ("SplitToSequence <axis = 1> (x, two)", [2, 2, 2]),
        ("SplitToSequence <axis = -2> (x)", [1] * 6),
        ("SplitToSequence <axis = 1, keepdims = 0> (x)", [1] * 6),
    ],
)
def test_parts_of_a_tensor(split, heights):
    new_axis = int("keepdims" in split)
    graph = read(
        f"s = {split} y = ConcatFromSequence <axis = 1, new_axis = {new_axis}> (s)",
    )
    assert height(graph, "Slice") == heights
    assert height(graph, "Concat") == [6]


def test_elements_are_the_tensors_that_were_put_in():
    graph = read("""
        a = Exp (x) b = Sqrt (x) c = Abs (x)
        s = SequenceConstruct (a, b)
        t = SequenceInsert (s, c, zero)
        u = SequenceErase (t, one)
        last = SequenceAt (u, one)
        first = SequenceAt (u, zero)
        y = Sub (first, last)
    """)
    assert sorted(graph.ops) == ["Abs", "Input", "Output", "Sqrt", "Sub"]


@pytest.mark.parametrize(("place", "order"), [(0, "cab"), (1, "acb"), (2, "abc"), (-1, "acb")])
def test_places_of_new_elements(place, order):
    graph = read(
        """
        a = Exp (x) b = Sqrt (x) c = Abs (x)
        s = SequenceConstruct (a, b) t = SequenceInsert (s, c, place)
        y = SequenceAt (t, zero)
        """,
        constants=f", int64 place = {{{place}}}",
    )
    assert graph.ops[1] == {"a": "Exp", "c": "Abs"}[order[0]]
    graph = read(
        """
        a = Exp (x) b = Sqrt (x) c = Abs (x)
        s = SequenceConstruct (a, b) t = SequenceInsert (s, c, place)
        y = SequenceAt (t, one)
        """,
        constants=f", int64 place = {{{place}}}",
    )
    assert graph.ops[1] == {"a": "Exp", "b": "Sqrt", "c": "Abs"}[order[1]]


def test_lengths_are_numbers():
    graph = read("""
        s = SequenceConstruct (x, x, x)
        n = SequenceLength (s)
        axis = Constant <value_ints = [0]> ()
        n1 = Unsqueeze (n, axis)
        rest = Constant <value_ints = [-1]> ()
        target = Concat <axis = 0> (n1, rest)
        y = Reshape (x, target)
    """)
    assert graph.ops == ("Input", "Reshape", "Output")
    assert graph.attribute("out_channels")[1] == 8


def test_a_map_runs_for_each_element():
    graph = read(
        """
        s = SplitToSequence <axis = 1> (x, two)
        t = SequenceMap <body = body (float[] a, float[] b) => (float[] c) { c = Add (a, b) }>
            (s, one_row)
        y = ConcatFromSequence <axis = 1> (t)
        """,
        constants=", float[1, 1, 4] one_row = {1, 2, 3, 4}",
    )
    assert graph.ops.count("Add") == 3


def test_a_sequence_that_is_returned():
    graph = read(
        """
        a = Exp (x) b = Sqrt (x)
        y = SequenceConstruct (a, b)
    """,
        outputs="seq(float[]) y",
    )
    assert graph.ops == ("Input", "Exp", "Sqrt", "Output")
    assert graph.edges == ((0, 1), (0, 2), (1, 3), (2, 3))


def test_optional_values():
    graph = read("""
        a = Exp (x)
        some = Optional (a)
        there = OptionalHasElement (some)
        got = OptionalGetElement (some)
        y = If (there) <then_branch = t () => (float[] b) { b = Relu (got) },
                        else_branch = e () => (float[] c) { c = Sqrt (x) }>
    """)
    assert graph.ops == ("Input", "Exp", "Relu", "Output")


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        (
            "s = SequenceConstruct (x) k = ArgMax <axis = 1> (x) y = SequenceAt (s, k)",
            "SequenceAt that writes 'y' takes an element whose position is known only at run time",
        ),
        ("s = SequenceConstruct (x) y = SequenceAt (s, one)", "names element 1 of a sequence of 1"),
        ("y = SequenceAt (x, one)", "reads 'x'; expected a sequence"),
        (
            "a = Flatten (x) s = SequenceConstruct (x, a) y = ConcatFromSequence <axis = 1> (s)",
            "ConcatFromSequence that writes 'y' does not fit the tensors that it reads",
        ),
        ("s = SequenceEmpty () y = ConcatFromSequence <axis = 0> (s)", "an empty sequence"),
        (
            "s = SplitToSequence <axis = 1> (x, five) y = SequenceAt (s, zero)",
            r"splits 6 elements into parts of \[5, 5\]",
        ),
        ("s = SplitToSequence <axis = 7> (x) y = SequenceAt (s, zero)", "splits axis 7"),
        (
            "n = NonZero (x) s = SplitToSequence (n) y = SequenceAt (s, zero)",
            "whose size is known only at run time",
        ),
        ("s = SequenceConstruct (x) y = Relu (s)", "Relu reads 's', which is a sequence"),
        ("e = Optional <type = float[1]> () y = OptionalGetElement (e)", "that holds nothing"),
    ],
)
def test_refused(nodes, words):
    with pytest.raises(InputError, match=words) as caught:
        read(nodes, constants=", int64[2] five = {5, 5}")
    assert str(caught.value).isprintable()
    assert "x1f" not in str(caught.value)
