"""ONNX files of timm's networks, with their trained weights where these can be had."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any

from nasplug.search_spaces import InputError
from nasplug.search_spaces.networks.onnx_model import WEIGHTS

if TYPE_CHECKING:
    import onnx
    from torch.nn import Module

__all__ = ["WEIGHTS", "trained_code", "trained_onnx"]

_OPSET = 17
_CODE = '''"""Network {name} of timm, with its trained weights.

Parameters: {params:,.0f}
Multiply-accumulates: {macs:,.0f} for an image of 3x{side}x{side}
"""

from functools import partial

import timm

IMAGE = (3, {side}, {side})
CLASSES = 1000
# Another number of classes, as in Network(num_classes=10), gives a new last layer.
Network = partial(timm.create_model, "{name}", pretrained=True)
'''


def trained_onnx(name: str, side: int, seed: int, batch_size: int) -> onnx.ModelProto:
    """Write a network of timm as an ONNX model.

    The weights are timm's, from its cache or the Hugging Face hub. If they cannot be had they are
    random; the model's metadata says which (`WEIGHTS`).

    Args:
        name: Name that `timm.create_model` takes.
        side: Side of the images, in pixels.
        seed: Seed of random weights.
        batch_size: Images a forward pass.

    Raises:
        InputError: If timm is not installed, or lacks the network.
    """
    import onnx
    import torch

    module, weights = _module(name, side, seed)
    file = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        # Of the exporter, on what it will do in later versions.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (torch.zeros(batch_size, 3, side, side),),
            file,  # type: ignore[arg-type]
            opset_version=_OPSET,
            dynamo=False,
        )
    model = onnx.load_from_string(file.getvalue())
    entry = model.metadata_props.add()
    entry.key, entry.value = WEIGHTS, weights
    return model


def trained_code(name: str, side: int, params: float, macs: float) -> str:
    """Write the code that builds a network of timm with its trained weights.

    Args:
        name: Name that `timm.create_model` takes.
        side: Side of the images, in pixels.
        params: Parameters.
        macs: Multiply-accumulates of one image.
    """
    return _CODE.format(name=name, side=side, params=params, macs=macs)


def _module(name: str, side: int, seed: int) -> tuple[Module, str]:
    """The network, and where its weights come from."""
    import torch

    try:
        import timm  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        raise InputError(
            "networks of space timm are written by the package timm, which is not installed; "
            "install it with pip install timm"
        ) from None
    try:
        module = timm.create_model(name, pretrained=True, exportable=True, **_size(name, side))
        weights = f"trained, {name}"
    except Exception as error:
        if isinstance(error, RuntimeError) and "Unknown model" in str(error):
            raise InputError(
                f"the installed timm {timm.__version__} has no network {name}; install a newer one"
            ) from None
        torch.manual_seed(seed)
        module = timm.create_model(name, exportable=True, **_size(name, side))
        weights = f"random, seed {seed}; the trained ones cannot be had ({_short(error)})"
    return module.eval(), weights


def _size(name: str, side: int) -> dict[str, Any]:
    """Size of the images, for networks that are built for one size."""
    from timm.models import get_pretrained_cfg  # type: ignore[import-not-found,unused-ignore]

    config = get_pretrained_cfg(name)
    if config is None or config.input_size[-1] == side or not config.fixed_input_size:
        return {}
    return {"img_size": side}


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0][:100] if str(error) else ''}"
