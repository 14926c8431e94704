"""Networks of PaddleClas that no package here has a name for, from the parts of timm and others.

Its tables state parameters; a network that has others is left out (see `network_graphs`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

__all__ = ["PADDLE_NETWORKS"]

Maker = Callable[[], torch.nn.Module]
# A "vd" network has three small convolutions first, and pools where a shortcut shrinks.
_VD = {"stem_width": 32, "stem_type": "deep", "avg_down": True}
_LAYERS = {18: [2, 2, 2, 2], 34: [3, 4, 6, 3], 50: [3, 4, 6, 3], 101: [3, 4, 23, 3]}
_LAYERS |= {152: [3, 8, 36, 3], 200: [3, 12, 48, 3]}
_SE = {"block_args": {"attn_layer": "se"}}


def _residual(depth: int, block: str = "", **arguments: Any) -> torch.nn.Module:
    from timm.models import res2net, resnet

    if block == "Bottle2neck":
        return resnet.ResNet(res2net.Bottle2neck, _LAYERS[depth], **arguments)
    kind = resnet.BasicBlock if depth < 50 else resnet.Bottleneck
    return resnet.ResNet(kind, _LAYERS[depth], **arguments)


def _mobilenet(version: str, width: float, variant: str = "") -> torch.nn.Module:
    from timm.models import efficientnet, mobilenetv3

    package = mobilenetv3 if version == "v3" else efficientnet
    make = getattr(package, f"_gen_mobilenet_{version}")
    module = make(f"mobilenet{version}_{variant}100", width)
    if variant == "small_":
        # PaddleClas keeps the width of the large network's last layer.
        module.conv_head = torch.nn.Conv2d(module.conv_head.in_channels, 1280, 1)
        module.classifier = torch.nn.Linear(1280, 1000)
    return module


def _named(package: str, name: str) -> torch.nn.Module:
    if package == "timm":
        from timm import create_model

        return create_model(name)
    if package == "pytorchcv":
        from pytorchcv.model_provider import get_model

        return get_model(name)
    from torchvision import models

    return models.get_model(name, weights=None)


def _googlenet() -> torch.nn.Module:
    from torchvision import models

    return models.googlenet(weights=None, aux_logits=False, init_weights=False)


def _shufflenet(widths: list[int]) -> torch.nn.Module:
    from torchvision.models import ShuffleNetV2

    return ShuffleNetV2([4, 8, 4], widths)


def _densenet264() -> torch.nn.Module:
    from timm.models.densenet import DenseNet

    return DenseNet(growth_rate=32, block_config=(6, 12, 64, 48))


def _wide(depth: int, groups: int, **arguments: Any) -> Maker:
    return partial(_residual, depth, cardinality=groups, base_width=4, **arguments)


def _res2net(depth: int) -> Maker:
    return partial(_residual, depth, "Bottle2neck", base_width=26, **_VD, block_args={"scale": 4})


PADDLE_NETWORKS: dict[str, Maker] = {
    "ResNet50_vc": partial(_residual, 50, stem_width=32, stem_type="deep"),
    **dict.fromkeys(
        ("ResNet50_vd_v2", "ResNet50_vd_ssld_v2", "Fix_ResNet50_vd_ssld_v2"),
        partial(_residual, 50, **_VD),
    ),
    "ResNet200_vd": partial(_residual, 200, **_VD),
    "ResNeXt50_64x4d": _wide(50, 64),
    **{
        f"ResNeXt{depth}_vd_{groups}x4d": _wide(depth, groups, **_VD)
        for depth in (50, 101, 152)
        for groups in (32, 64)
    },
    **{f"ResNeXt152_{groups}x4d": _wide(152, groups) for groups in (32, 64)},
    **{
        f"Res2Net{depth}_vd_26w_4s{ending}": _res2net(depth)
        for depth in (50, 101, 200)
        for ending in ("", "_ssld")
    },
    **{f"SE_ResNet{depth}_vd": partial(_residual, depth, **_VD, **_SE) for depth in (18, 34, 50)},
    **{f"SE_ResNeXt{depth}_32x4d": _wide(depth, 32, **_SE) for depth in (50, 101)},
    "SE_ResNeXt50_vd_32x4d": _wide(50, 32, **_VD, **_SE),
    **dict.fromkeys(
        ("ResNeXt101_32x48d_wsl", "Fix_ResNeXt101_32x48d_wsl"),
        partial(_residual, 101, cardinality=32, base_width=48),
    ),
    "DenseNet264": _densenet264,
    "GoogLeNet": _googlenet,
    **{
        name: partial(_named, "pytorchcv", name.lower().replace("_", ""))
        for name in ("HarDNet39_ds", "HarDNet68_ds", "HarDNet68", "HarDNet85")
    },
    **{
        f"MobileNetV{version}_x{str(width).replace('.', '_')}": partial(
            _mobilenet, f"v{version}", width
        )
        for version, widths in ((1, (0.25, 0.5, 0.75)), (2, (0.25, 1.5, 2.0)))
        for width in widths
    },
    **{
        f"MobileNetV3_{size}_x{str(width).replace('.', '_')}{ending}": partial(
            _mobilenet, "v3", width, f"{size}_"
        )
        for size in ("large", "small")
        for width in (0.35, 0.5, 0.75, 1.0, 1.25)
        for ending in ("", "_ssld", "_ssld_int8")
    },
    **dict.fromkeys(
        ("ShuffleNetV2", "ShuffleNetV2_swish"), partial(_shufflenet, [24, 116, 232, 464, 1024])
    ),
    "ShuffleNetV2_x0_25": partial(_shufflenet, [24, 24, 48, 96, 512]),
    "ShuffleNetV2_x0_33": partial(_shufflenet, [24, 32, 64, 128, 512]),
    **{
        f"PPHGNet_{size}{ending}": partial(_named, "timm", f"hgnet_{size}")
        for size in ("tiny", "small", "base")
        for ending in ("", "_ssld")
    },
    **{
        f"SwinTransformer_{size}_patch4_{window}[1]": partial(
            _named, "timm", f"swin_{size}_patch4_{window}"
        )
        for size in ("base", "large")
        for window in ("window7_224", "window12_384")
    },
}
"""Name in PaddleClas -> what makes the module."""
