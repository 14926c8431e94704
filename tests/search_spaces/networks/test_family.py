"""Families of networks: their decisions, texts and ids."""

import numpy as np
import pytest

from nasplug.search_spaces import InputError, space
from nasplug.search_spaces.networks.family import Decision, Family
from nasplug.search_spaces.networks.nnlqp import FAMILIES


def rng_of(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_text_may_leave_out_standard_choices():
    vgg = space("nnlqp:vgg")
    assert vgg.parse("vgg:") == vgg.parse("vgg16") == vgg.standard
    assert vgg.parse("d_1=1") == vgg.parse(" vgg: d_1 = 1 ") != vgg.standard
    assert vgg.parse("vgg11").text.startswith("vgg:d_1=1,")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("vgg:d_1", "'d_1' is not a name=value"),
        ("vgg:d_9=1", "unknown decision 'd_9'"),
        ("vgg:d_1=9", "d_1 is '9', not one of 1, 2, 3, 4"),
        ("vgg:d_1=1,d_1=1", "'d_1' is given twice"),
        ("resnet:d_1=1", "unknown decision 'resnet:d_1'"),
    ],
)
def test_malformed_texts_of_a_family(text, words):
    with pytest.raises(InputError, match=words):
        space("nnlqp:vgg").parse(text)


def test_a_family_may_need_earlier_decisions_only():
    def build(net, chosen, classes):
        return net.linear(net.flatten(net.input), classes)

    late = Decision("a", (1, 2), 1, (("b", (1,)),))
    with pytest.raises(KeyError):
        Family("f", (late, Decision("b", (1, 2), 1)), build)


def test_ids_of_a_family_name_it_and_differ():
    for family in FAMILIES:
        one = space(f"nnlqp:{family}")
        archs = [one.sample(rng_of(seed)) for seed in range(30)]
        assert all(arch.arch_id.startswith(f"{family}-") for arch in archs)
        if family != "nasbench201":  # where two cells can be one network
            assert len({a.arch_id for a in archs}) == len({a.text for a in archs})
