"""ONNX models of networks: shapes, weights, and what is refused."""

import numpy as np
import pytest

from nasplug.search_spaces import InputError
from nasplug.search_spaces.nb201 import NB201
from nasplug.search_spaces.networks.nnlqp import FAMILIES, nnlqp

SPACES = {name: nnlqp(name) for name in FAMILIES}
CELLS = NB201()
DEAD = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
RUNNABLE = [
    "alexnet:w_6=0.25,w_7=0.25",
    "vgg:d_4=1,d_5=1,w_1=0.25,w_2=0.25,w_3=0.25,w_4=0.25,w_5=0.25,w_6=0.25,w_7=0.25",
    "googlenet",
    "squeezenet1.0",
    "squeezenet1.1",
    "resnet18",
    "resnet:block=bottleneck",
    "mobilenetv2",
    "mobilenetv3_large",
    "mobilenetv3_small",
    "mnasnet:se_2=true",
    "efficientnet_b0",
    f"nasbench201:{CELLS[0].text}",
    f"nasbench201:{DEAD}",
]


def onnx_shapes(model):
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    graph = inferred.graph
    return {
        value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.value_info, *graph.output)
    }


@pytest.mark.parametrize("text", RUNNABLE)
def test_onnx_model_has_the_shapes_of_the_network_and_runs(text):
    import onnxruntime

    union = nnlqp()
    space, arch = union.unwrap(union.parse(text))
    builder, output = space._built(arch, None)
    model = space.to_onnx(arch, seed=3, batch_size=2)
    found = onnx_shapes(model)
    names = {k: "output" if k == output else f"x{k}" for k in range(len(builder.operators))}
    for k, operator in enumerate(builder.operators):
        if names[k] in found:  # what is dead is not written
            assert found[names[k]] == (2, *operator.shape[1:]), operator
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (given,) = session.get_inputs()
    image = np.random.default_rng(0).standard_normal(given.shape, dtype=np.float32)
    (scores,) = session.run(None, {given.name: image})
    assert scores.shape == (2, 10 if "nasbench" in text else 1000)
    assert np.isfinite(scores).all()
    # A dead cell's network sees nothing of its input; every other one tells the images apart.
    assert (scores[0] == scores[1]).all() == (DEAD in text)


@pytest.mark.parametrize("text", RUNNABLE)
def test_onnx_model_reads_back_as_the_same_graph(text):
    from nasplug.search_spaces.importers.onnx_graph import onnx_graph

    union = nnlqp()
    arch = union.parse(text)
    graph, read = union.to_graph(arch), onnx_graph(union.to_onnx(arch, batch_size=3))
    assert read.ops == graph.ops
    assert read.edges == graph.edges
    assert np.array_equal(read.attributes, graph.attributes)


def test_onnx_parameters_are_those_of_the_graph():
    space = SPACES["mobilenetv2"]
    model = space.to_onnx(space.standard)
    floats = [t for t in model.graph.initializer if not t.name.endswith(("_low", "_high"))]
    assert sum(int(np.prod(t.dims)) for t in floats) == space.to_graph(space.standard).total(
        "params"
    )


def test_onnx_weights_follow_the_seed():
    space = SPACES["squeezenet"]
    same = [space.to_onnx(space.standard, seed=5).SerializeToString() for _ in range(2)]
    other = space.to_onnx(space.standard, seed=6).SerializeToString()
    assert same[0] == same[1] != other


def test_onnx_weights_are_he_normal():
    from onnx import numpy_helper

    space = SPACES["resnet"]
    tensors = [numpy_helper.to_array(t) for t in space.to_onnx(space.standard).graph.initializer]
    for weights in tensors:
        if weights.ndim == 4 and weights.size > 50_000:
            fan_in = np.prod(weights.shape[1:])
            assert weights.std() == pytest.approx((2 / fan_in) ** 0.5, rel=0.02)
            assert abs(weights.mean()) < 0.02 * weights.std()


def test_hard_sigmoid_has_the_slope_of_the_networks():
    space = SPACES["mobilenetv3"]
    nodes = [n for n in space.to_onnx(space.standard).graph.node if n.op_type == "HardSigmoid"]
    assert nodes
    for node in nodes:
        alpha = next(a.f for a in node.attribute if a.name == "alpha")
        assert alpha == pytest.approx(1 / 6)


def test_network_over_two_gigabytes_is_refused():
    space = SPACES["vgg"]
    widest = space.from_params({d.name: d.choices[-1] for d in space.family.decisions})
    assert space.to_graph(widest).total("params") > 2**29
    with pytest.raises(InputError, match=r"weights of vgg-\w+ need 2\.9 GB.*at most 2 GB"):
        space.to_onnx(widest)


def test_batch_of_no_images_is_refused():
    space = SPACES["squeezenet"]
    with pytest.raises(InputError, match="batch size 0 is not at least 1"):
        space.to_onnx(space.standard, batch_size=0)
