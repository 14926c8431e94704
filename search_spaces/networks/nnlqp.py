"""The ten families of the NNLQP data set (Liu et al., ICPP 2022) as a search space.

NNLQP takes a base network of each family and varies kernels, channels and depth at random (eight of
them with nn-Meter's generator). Its networks are published as ONNX files only; the decisions here
cover the same dimensions, but do not name its networks.
"""

from __future__ import annotations

from nasplug.search_spaces.errors import InputError, closest
from nasplug.search_spaces.networks.chains import ALEXNET, VGG
from nasplug.search_spaces.networks.family import Family
from nasplug.search_spaces.networks.googlenet import GOOGLENET
from nasplug.search_spaces.networks.mobilenets import EFFICIENTNET, MNASNET, MOBILENETV2
from nasplug.search_spaces.networks.mobilenetv3 import MOBILENETV3
from nasplug.search_spaces.networks.nasbench201 import NASBENCH201
from nasplug.search_spaces.networks.network_space import FiniteNetworkSpace, NetworkSpace
from nasplug.search_spaces.networks.resnet import RESNET
from nasplug.search_spaces.networks.squeezenet import SQUEEZENET
from nasplug.search_spaces.networks.union import NetworkUnion
from nasplug.search_spaces.space import SearchSpace

__all__ = ["FAMILIES", "nnlqp"]

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        ALEXNET,
        VGG,
        GOOGLENET,
        SQUEEZENET,
        RESNET,
        MOBILENETV2,
        MOBILENETV3,
        MNASNET,
        EFFICIENTNET,
        NASBENCH201,
    )
}


def nnlqp(part: str | None = None) -> SearchSpace:
    """Open the union of the families, or one of them.

    Args:
        part: A name of `FAMILIES`, such as `"mobilenetv2"`; all of them if it is left out.

    Raises:
        InputError: If there is no such family.
    """
    if part is None:
        union = NetworkUnion("nnlqp", [_space(family) for family in FAMILIES.values()])
        union.deployed = True
        return union
    if part not in FAMILIES:
        raise InputError(f"unknown family {part!r}; known: {closest(part, FAMILIES)}")
    return _space(FAMILIES[part])


def _space(family: Family) -> NetworkSpace:
    space_class = FiniteNetworkSpace if family is NASBENCH201 else NetworkSpace
    space = space_class(family, f"nnlqp:{family.name}")
    # NNLQP's networks are ONNX files, which its platforms run by TensorRT and the like.
    space.deployed = True
    return space
