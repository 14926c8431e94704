"""Configurations of transformers' networks for the classification of images."""

from __future__ import annotations

from typing import Any

__all__ = ["IMAGES", "Configuration"]

Configuration = tuple[str, str, dict[str, Any], str]
_CLASSIFIER = "ForImageClassification"
_PYRAMID = {
    "b0": ([32, 64, 160, 256], [2, 2, 2, 2]),
    "b1": ([64, 128, 320, 512], [2, 2, 2, 2]),
    "b2": ([64, 128, 320, 512], [3, 4, 6, 3]),
    "b3": ([64, 128, 320, 512], [3, 4, 18, 3]),
    "b4": ([64, 128, 320, 512], [3, 8, 27, 3]),
    "b5": ([64, 128, 320, 512], [3, 6, 40, 3]),
}
_SMALL = {"hidden_size": 384, "num_attention_heads": 6, "intermediate_size": 1536}
_TINY = {"hidden_size": 192, "num_attention_heads": 3, "intermediate_size": 768}
_BEIT = {
    "use_relative_position_bias": True,
    "use_absolute_position_embeddings": False,
    "use_mean_pooling": True,
}
_SWIN_BASE = {"embed_dim": 128, "depths": [2, 2, 18, 2], "num_heads": [4, 8, 16, 32]}
_LEVIT = {"depths": [4, 4, 4], "key_dim": [32, 32, 32]}
_THOUSAND = {"num_labels": 1000}


def _images(
    kind: str, side: int, networks: dict[str, dict[str, Any]], head: str = _CLASSIFIER
) -> dict[str, Configuration]:
    return {
        name: (f"{kind}Config", f"{kind}{head}", _THOUSAND | changes, str(side))
        for name, changes in networks.items()
    }


IMAGES: dict[str, Configuration] = {
    **_images(
        "SwiftFormer",
        224,
        {
            f"MBZUAI/swiftformer-{name}": {"depths": depths, "embed_dims": widths}
            for name, depths, widths in (
                ("xs", [3, 3, 6, 4], [48, 56, 112, 220]),
                ("s", [3, 3, 9, 6], [48, 64, 168, 224]),
                ("l1", [4, 3, 10, 5], [48, 96, 192, 384]),
                ("l3", [4, 4, 12, 6], [64, 128, 320, 512]),
            )
        },
    ),
    **_images(
        "Van",
        224,
        {
            f"Visual-Attention-Network/van-{name}": {"depths": depths, "hidden_sizes": widths}
            for name, depths, widths in (
                ("tiny", [3, 3, 5, 2], [32, 64, 160, 256]),
                ("small", [2, 2, 4, 2], [64, 128, 320, 512]),
                ("base", [3, 3, 12, 3], [64, 128, 320, 512]),
                ("large", [3, 5, 27, 3], [64, 128, 320, 512]),
            )
        },
    ),
    **_images(
        "Pvt",
        224,
        {
            f"Zetatech/pvt-{name}-224": {"depths": depths}
            for name, depths in (
                ("tiny", [2, 2, 2, 2]),
                ("small", [3, 4, 6, 3]),
                ("medium", [3, 4, 18, 3]),
                ("large", [3, 8, 27, 3]),
            )
        },
    ),
    **_images(
        "MobileViT",
        256,
        {
            "apple/mobilevit-small": {},
            "apple/mobilevit-x-small": {
                "hidden_sizes": [96, 120, 144],
                "neck_hidden_sizes": [16, 32, 48, 64, 80, 96, 384],
            },
            "apple/mobilevit-xx-small": {
                "hidden_sizes": [64, 80, 96],
                "neck_hidden_sizes": [16, 16, 24, 48, 64, 80, 320],
                "expand_ratio": 2.0,
            },
        },
    ),
    **_images(
        "MobileViTV2",
        256,
        {
            "apple/mobilevitv2-1.0-imagenet1k-256": {"width_multiplier": 1.0},
            "apple/mobilevitv2-2.0-imagenet1k-256": {"width_multiplier": 2.0},
            "apple/mobilevitv2-1.5-voc-deeplabv3": {"width_multiplier": 1.5, "num_labels": 21},
        },
    ),
    **_images(
        "DeiT",
        224,
        {
            "facebook/deit-base-distilled-patch16-224": {},
            "facebook/deit-base-distilled-patch16-384": {"image_size": 384},
            "facebook/deit-small-distilled-patch16-224": _SMALL,
            "facebook/deit-tiny-distilled-patch16-224": _TINY,
        },
        "ForImageClassificationWithTeacher",
    ),
    **_images(
        "Dinov2",
        224,
        {
            "facebook/dinov2-base-imagenet1k-1-layer": {"patch_size": 14},
            "facebook/dinov2-small-imagenet1k-1-layer": {
                "patch_size": 14,
                "hidden_size": 384,
                "num_attention_heads": 6,
            },
        },
    ),
    **_images(
        "Levit",
        224,
        {
            "facebook/levit-128S": {"depths": [2, 3, 4], "num_attention_heads": [4, 6, 8]},
            "facebook/levit-128": {"depths": [4, 4, 4], "num_attention_heads": [4, 8, 12]},
            "facebook/levit-192": _LEVIT
            | {"hidden_sizes": [192, 288, 384], "num_attention_heads": [3, 5, 6]},
            "facebook/levit-256": _LEVIT
            | {"hidden_sizes": [256, 384, 512], "num_attention_heads": [4, 6, 8]},
            "facebook/levit-384": _LEVIT
            | {"hidden_sizes": [384, 512, 768], "num_attention_heads": [6, 9, 12]},
        },
        "ForImageClassificationWithTeacher",
    ),
    **_images(
        "ViTMSN",
        224,
        {
            "facebook/vit-msn-base": {},
            "facebook/vit-msn-small": _SMALL,
            "facebook/vit-msn-base-4": {"patch_size": 4},
        },
    ),
    **_images(
        "ViT",
        224,
        {
            "google/vit-base-patch16-224-in21k": {"num_labels": 2},
            "google/vit-base-patch16-384": {"image_size": 384},
            "google/vit-base-patch32-224-in21k": {"patch_size": 32, "num_labels": 2},
            "google/vit-base-patch32-384": {"patch_size": 32, "image_size": 384},
        },
    ),
    **_images("ViTHybrid", 384, {"google/vit-hybrid-base-bit-384": {"image_size": 384}}),
    **_images(
        "Beit",
        224,
        {
            "microsoft/beit-base-patch16-224": _BEIT,
            "microsoft/beit-base-patch16-384": _BEIT | {"image_size": 384},
        },
    ),
    **_images(
        "Cvt",
        224,
        {
            "microsoft/cvt-13": {},
            "microsoft/cvt-13-384": {},
            "microsoft/cvt-21": {"depth": [1, 4, 16]},
            "microsoft/cvt-21-384": {"depth": [1, 4, 16]},
        },
    ),
    **_images(
        "FocalNet",
        224,
        {
            "microsoft/focalnet-tiny": {},
            "microsoft/focalnet-small": {"depths": [2, 2, 18, 2]},
            "microsoft/focalnet-base": {"depths": [2, 2, 18, 2], "embed_dim": 128},
        },
    ),
    **_images(
        "Swin",
        224,
        {
            "microsoft/swin-tiny-patch4-window7-224": {},
            "microsoft/swin-small-patch4-window7-224": {"depths": [2, 2, 18, 2]},
            "microsoft/swin-base-patch4-window7-224": _SWIN_BASE,
            "microsoft/swin-base-patch4-window12-384": _SWIN_BASE
            | {"window_size": 12, "image_size": 384},
        },
    ),
    **_images(
        "Swinv2",
        256,
        {
            "microsoft/swinv2-tiny-patch4-window8-256": {"window_size": 8, "image_size": 256},
            "microsoft/swinv2-tiny-patch4-window16-256": {"window_size": 16, "image_size": 256},
            "microsoft/swinv2-base-patch4-window8-256": _SWIN_BASE
            | {"window_size": 8, "image_size": 256},
            "microsoft/swinv2-base-patch4-window16-256": _SWIN_BASE
            | {"window_size": 16, "image_size": 256},
            "microsoft/swinv2-base-patch4-window12-192-22k": _SWIN_BASE
            | {"window_size": 12, "image_size": 192, "num_labels": 21841},
        },
    ),
    **_images(
        "Segformer",
        224,
        {
            f"nvidia/mit-{name}": {"hidden_sizes": widths, "depths": depths}
            for name, (widths, depths) in _PYRAMID.items()
        },
    ),
    **_images(
        "PoolFormer",
        224,
        {
            f"sail/poolformer_{name}": {"hidden_sizes": widths, "depths": depths}
            for name, widths, depths in (
                ("s12", [64, 128, 320, 512], [2, 2, 6, 2]),
                ("s24", [64, 128, 320, 512], [4, 4, 12, 4]),
                ("s36", [64, 128, 320, 512], [6, 6, 18, 6]),
                ("m36", [96, 192, 384, 768], [6, 6, 18, 6]),
                ("m48", [96, 192, 384, 768], [8, 8, 24, 8]),
            )
        },
    ),
    **_images(
        "EfficientFormer",
        224,
        {
            f"snap-research/efficientformer-{name}-300": {
                "hidden_sizes": widths,
                "depths": depths,
                "num_meta3d_blocks": blocks,
                "dim": widths[-1],
                "hidden_size": widths[-1],
            }
            for name, widths, depths, blocks in (
                ("l1", [48, 96, 224, 448], [3, 2, 6, 4], 1),
                ("l3", [64, 128, 320, 512], [4, 4, 12, 6], 4),
                ("l7", [96, 192, 384, 768], [6, 6, 18, 8], 8),
            )
        },
        "ForImageClassificationWithTeacher",
    ),
}
"""Name on the hub -> classes of the configuration and the model, what differs, and the side."""
