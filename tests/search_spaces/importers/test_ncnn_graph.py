"""Reader of ncnn's `.param` files: small files, the published ones, and what is none."""

import pytest

from nasplug.search_spaces import InputError
from nasplug.search_spaces.importers.ncnn_graph import ncnn_graph

MODELS = "Tencent/ncnn/a4d2ea1d4422c9e849f166fd7a4aefb52f942f6a/benchmark/models"


def write(folder, *layers, magic="7767517", count=None):
    path = folder / "network.param"
    names = f"{len(layers) if count is None else count} 99"
    path.write_text("\n".join([magic, names, *layers]) + "\n")
    return path


INPUT = "Input data 0 1 data 0=8 1=8 2=3"


def test_a_convolution_with_its_activation(tmp_path):
    path = write(tmp_path, INPUT, "Convolution c 1 1 data out 0=4 1=3 3=2 4=1 5=1 6=108 9=1")
    graph = ncnn_graph(path)
    assert graph.ops == ("Input", "Conv", "Relu", "Output")
    assert graph.attribute("height").tolist()[1] == 4
    assert graph.total("params") == 108 + 4
    assert graph.total("macs") == 108 * 16


def test_groups_and_int8(tmp_path):
    path = write(tmp_path, INPUT, "ConvolutionDepthWise c 1 1 data out 0=3 1=3 4=1 6=27 7=3 8=1")
    graph = ncnn_graph(path)
    assert graph.attribute("groups").tolist()[1] == 3
    assert graph.weight_types == ("", "int8", "")
    assert graph.weight_bytes.tolist()[1] == 27


def test_branches_are_joined(tmp_path):
    path = write(
        tmp_path,
        INPUT,
        "Split s 1 2 data a b",
        "ReLU r 1 1 a left",
        "Sigmoid g 1 1 b right",
        "BinaryOp m 2 1 left right both 0=2",
        "Concat k 2 1 both left out 0=0",
        "Pooling p 1 1 out pooled 0=1 4=1",
        "InnerProduct f 1 1 pooled classes 0=10 1=1 2=60",
    )
    graph = ncnn_graph(path)
    assert {"Mul", "Concat", "GlobalAveragePool", "Gemm"} <= set(graph.ops)
    assert graph.total("params") == 70


def test_stated_sizes_count(tmp_path):
    path = write(
        tmp_path, "Input data 0 1 data -23330=4,3,5,7,3", "Other o 1 1 data out -23330=4,1,9,1,1"
    )
    graph = ncnn_graph(path)
    assert graph.ops == ("Input", "Other", "Output")
    assert (graph.attribute("height")[0], graph.attribute("width")[0]) == (7, 5)


def test_an_open_input_needs_a_shape(tmp_path):
    path = write(tmp_path, "Input data 0 1 data", "ReLU r 1 1 data out")
    with pytest.raises(InputError, match="give input_shape"):
        ncnn_graph(path)
    assert ncnn_graph(path, (3, 4, 4)).ops == ("Input", "Relu", "Output")


@pytest.mark.parametrize(
    ("layers", "text"),
    [
        (["Input data 0 1"], "line 3 is no layer"),
        ([INPUT, "ReLU r 1 1 nothing out"], "line 4: the layer 'r'.*nothing"),
        ([INPUT, "Strange s 1 1 data out"], "does not say the size"),
        ([INPUT, "Convolution c 1 1 data out 0=0 1=3"], "line 4"),
        ([INPUT, "Convolution c 1 1 data out 0=x"], "line 4"),
    ],
)
def test_bad_layers_are_named(tmp_path, layers, text):
    with pytest.raises(InputError, match=text):
        ncnn_graph(write(tmp_path, *layers))


def test_other_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        ncnn_graph(tmp_path / "missing.param")
    with pytest.raises(InputError, match="first line is 7767517"):
        ncnn_graph(write(tmp_path, INPUT, magic="7"))
    with pytest.raises(InputError, match="has 1 layers, and names '5'"):
        ncnn_graph(write(tmp_path, INPUT, count=5))
    binary = tmp_path / "binary.param"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="no text"):
        ncnn_graph(binary)


@pytest.mark.parametrize(
    ("name", "macs", "params"),
    [
        # Millions, as torchvision and timm count the same networks.
        ("resnet18", 1_814, 11.69),
        ("vgg16", 15_470, 138.36),
        ("mobilenet_v2", 301, 3.50),
        ("efficientnet_b0", 386, 5.29),
    ],
)
def test_published_networks(mirror, name, macs, params):
    graph = ncnn_graph(mirror / MODELS / f"{name}.param")
    assert graph.total("macs") / 1e6 == pytest.approx(macs, rel=0.05)
    assert graph.total("params") / 1e6 == pytest.approx(params, rel=0.01)


def test_every_published_file_is_read(mirror):
    open_inputs = {"FastestDet": (3, 352, 352), "vision_transformer": (3, 384, 384)}
    files = sorted((mirror / MODELS).glob("*.param"))
    assert len(files) == 35
    for file in files:
        graph = ncnn_graph(file, open_inputs.get(file.stem))
        assert graph.total("macs") > 1e7
