"""Networks that other packages build, by the references of the table of measurements.

`built(reference)` makes the module with random weights, without memory for them, and an example of
its input; `PACKAGES` are the packages it knows.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from nasplug.search_spaces import InputError

__all__ = ["PACKAGES", "Built", "built"]

_WIDTH = re.compile(r"mobilenetv(?P<version>\d)_100\(channel_multiplier=(?P<width>[\d.]+)\)")

# Names of earlier versions of timm that mean another network today.
_RENAMED = {"ecaresnext50t_32x4d": "ecaresnext26t_32x4d"}
_WIDE_RESNEXT = re.compile(r"ig_resnext101_32x(?P<width>\d+)d")
_YOLO_FILES = {
    "FastSAM-s": "yolov8s-seg.yaml",
    "FastSAM-x": "yolov8x-seg.yaml",
    "yolov3-tinyu": "yolov3-tiny.yaml",
    "yolov5mu": "yolov5m.yaml",
}


@dataclass(frozen=True)
class Built:
    """Network that a package made.

    Attributes:
        module: The network.
        example: Its input, as `torch_graph` takes it.
        family: Networks of one design; see `KnownNetwork`.
    """

    module: torch.nn.Module
    example: Any
    family: str


def built(reference: str) -> Built:
    """Network of a reference, on the current device of torch.

    Raises:
        InputError: If no package here builds it.
    """
    package, _, name = reference.partition(":")
    if package not in PACKAGES:
        raise InputError(f"no package builds {reference}")
    name, _, size = name.partition("@")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return PACKAGES[package](name, size)


def image(size: str, channels: int = 3) -> torch.Tensor:
    """An image of `"224"` or `"height x width"`."""
    sides = [int(side) for side in size.split("x")]
    return torch.zeros(1, channels, sides[0], sides[-1])


def _timm(name: str, size: str) -> Built:
    from timm import create_model
    from timm.models import get_pretrained_cfg, is_model, model_entrypoint
    from timm.models.resnet import Bottleneck, ResNet
    from timm.utils import reparameterize_model

    wide = _WIDE_RESNEXT.fullmatch(name)
    if wide:
        width = int(wide["width"])
        module = ResNet(Bottleneck, [3, 4, 23, 3], cardinality=32, base_width=width)
        return Built(module, image(size), "resnet")
    other_width = _WIDTH.fullmatch(name)
    if other_width:
        return _mobilenet(other_width["version"], float(other_width["width"]), size)
    arguments: dict[str, Any] = {}
    name = _RENAMED.get(name, name)
    base = name.partition(".")[0]
    if not is_model(base):
        raise InputError("this timm has no such model")
    config = get_pretrained_cfg(base)
    side = int(size)
    # Others take images of any size, and no such argument.
    if config is not None and config.fixed_input_size and config.input_size[-1] != side:
        arguments["img_size"] = side
    module = create_model(name, **arguments)
    if base.startswith("ghostnetv3"):
        # Its branches are joined before it is used, as in the tables.
        module = reparameterize_model(module)
    family = model_entrypoint(base).__module__.rpartition(".")[2]
    if family == "_registry":
        # A name of an earlier version.
        family = type(module).__module__.rpartition(".")[2]
    return Built(module, image(size), family)


def _mobilenet(version: str, width: float, size: str) -> Built:
    """MobileNet of a width that timm has no name for."""
    from timm.models import efficientnet

    make = getattr(efficientnet, f"_gen_mobilenet_v{version}")
    name = f"mobilenetv{version}_100"
    return Built(make(name, channel_multiplier=width), image(size), "efficientnet")


def _torchvision(name: str, size: str) -> Built:
    from torchvision import models

    plain = name.rpartition(".")[2]
    has_backbone = plain.startswith(
        ("deeplabv3", "fcn", "lraspp", "retinanet", "fasterrcnn", "ssd")
    )
    arguments: dict[str, Any] = {"weights_backbone": None} if has_backbone else {}
    if plain in ("googlenet", "inception_v3"):
        arguments |= {"init_weights": False, "aux_logits": plain == "inception_v3"}
    module = models.get_model(plain, weights=None, **arguments)
    family = type(module).__module__.rpartition(".")[2]
    if name.startswith("video."):
        return Built(module, torch.zeros(1, 3, 16, int(size), int(size)), family)
    return Built(module, image(size or "224"), family)


def _pytorchcv(name: str, size: str) -> Built:
    from pytorchcv.model_provider import get_model

    module = get_model(name, pretrained=False)
    return Built(module, image(size), type(module).__module__.rpartition(".")[2])


def _transformers(name: str, size: str) -> Built:
    from experiments.measurements.transformers_networks import CONFIGURATIONS, transformers_network

    if name not in CONFIGURATIONS:
        raise InputError("its configuration is not here")
    return Built(*transformers_network(name, size))


def _ultralytics(name: str, size: str) -> Built:
    from ultralytics.nn.tasks import DetectionModel, SegmentationModel

    file = _YOLO_FILES.get(name, f"{name}.yaml")
    make = SegmentationModel if "-seg" in file else DetectionModel
    arguments = {"nc": 1} if name.startswith("FastSAM") else {}
    module = make(file, verbose=False, **arguments)
    head = module.model[-1]
    if getattr(head, "one2one_cv2", None) is not None:
        # Without the second head, which is for training.
        head.fuse()
    return Built(module, image(size), file.partition(".")[0].rstrip("nsmlx"))


def _paddleclas(name: str, size: str) -> Built:
    from experiments.measurements.paddle_networks import PADDLE_NETWORKS

    if name not in PADDLE_NETWORKS:
        raise InputError("no part of another package builds it")
    # Sides that the stated costs contradict: those are of 224 for GoogLeNet, and of 384 here.
    side = "224" if name == "GoogLeNet" else "384" if "window12_384" in name else size
    family = re.split(r"\d|_", name, maxsplit=1)[0].lower()
    return Built(PADDLE_NETWORKS[name](), image(side), family)


PACKAGES: dict[str, Callable[[str, str], Built]] = {
    "timm": _timm,
    "torchvision": _torchvision,
    "pytorchcv": _pytorchcv,
    "transformers": _transformers,
    "ultralytics": _ultralytics,
    "paddleclas": _paddleclas,
}
