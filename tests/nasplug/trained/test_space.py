"""Space `timm`: trained networks, their names, graphs and accuracies."""

import numpy as np
import pytest

import nasplug
from nasplug.search_spaces import InputError
from nasplug.testing import check_space

SPACE = nasplug.space("timm")


def test_keeps_the_promises_of_a_space():
    check_space(nasplug.space("timm:mobilenet*"))


def test_all_have_a_graph_that_fits_their_name():
    assert len(SPACE) == 1556
    every = list(SPACE)
    assert [SPACE.index(arch) for arch in every[::97]] == list(range(0, 1556, 97))
    resnet, small = (
        SPACE.parse("resnet50.a1_in1k@224"),
        SPACE.parse("mobilenetv3_small_100.lamb_in1k"),
    )
    assert SPACE.to_graph(resnet).total("params") == 25_557_032
    assert SPACE.to_graph(resnet).total("macs") == pytest.approx(4.09e9, rel=0.01)
    assert SPACE.family_of(resnet) == "resnet"
    assert SPACE.family_of(small) == "mobilenetv3"


def test_accuracies_are_those_of_the_table():
    named = ["resnet50.a1_in1k@224", "resnet50.a1_in1k@288", "resnet50.tv_in1k"]
    found = SPACE.accuracies([SPACE.parse(text) for text in named])
    np.testing.assert_allclose(found[:, 0], [80.382, 81.24, 76.156], atol=0.0005)
    every = SPACE.accuracies(list(SPACE))[:, 0]
    assert every[0] == 90.056
    assert (np.diff(every) <= 0).all()


def test_networks_of_one_form_with_other_weights_are_other_networks():
    first, second = SPACE.parse("resnet50.a1_in1k"), SPACE.parse("resnet50.tv_in1k")
    assert first.arch_id != second.arch_id
    assert SPACE.to_graph(first).ops == SPACE.to_graph(second).ops


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("resnet50", "was trained in several ways; name one: resnet50"),
        ("resnet50.a1_in1k@100", "was not measured at '100'; there is resnet50.a1_in1k@"),
        ("resnet5.a1_in1k", "is no trained network of timm; there is "),
    ],
)
def test_wrong_names_get_near_ones(text, words):
    with pytest.raises(InputError, match=words):
        SPACE.parse(text)


def test_parts_are_named_by_patterns():
    part = nasplug.space("timm:mobilenetv4*")
    assert {arch.text.partition("_")[0] for arch in part} == {"mobilenetv4"}
    assert len(nasplug.space("timm:mobilenetv4")) == len(part)
    with pytest.raises(InputError, match="no trained network has a name like 'mobilnet\\*'; there"):
        nasplug.space("timm:mobilnet*")


@pytest.mark.parametrize("ask", [SPACE.parse, lambda text: nasplug.space(f"timm:{text}")])
def test_messages_name_the_nearest_names_alone(ask):
    with pytest.raises(InputError, match=r"others, listed by list\(nasplug.space") as caught:
        ask("mobilnetv3")
    assert len(str(caught.value)) < 300
