"""Names of networks, compared over the spellings of packages and papers."""

from __future__ import annotations

import re
from functools import cache

__all__ = ["is_reference_of_space", "network_key", "plain_name"]

# Keys of one network in several packages and papers; the first stands for all.
_TWINS = (
    ("resnet50", "resnet50v15"),
    ("wideresnet502", "wideresnet50"),
    ("resnext5032x4d", "resnext50"),
    ("mobilenetv1", "mobilenetv1100", "mobilenetv1100channelmultiplier10", "mobilenet"),
    ("mobilenetv2", "mobilenetv2100", "mobilenetv210", "mobilenetv2w1"),
    ("mobilenetv3large", "mobilenetv3large100", "mobilenetv3largew1", "mobilenetv3"),
    ("mobilenetv3small", "mobilenetv3small100", "mobilenetv3smallw1"),
    ("shufflenetv2", "shufflenetv2x10", "shufflenetv2w1"),
    ("mnasnet", "mnasnet10", "mnasnet100", "mnasneta1"),
    ("inceptionv3", "inception3"),
    ("bertbase", "bertbaseuncased", "bertbasecased", "bertbaseuncasedhf"),
    ("bertlarge", "bertlargeuncased", "bert99"),
    ("vitb16", "vitbasepatch16224", "vitbase16", "vitbasepatch16", "vitbase"),
    ("vitb32", "vitbasepatch32224", "vitbase32"),
    ("vitl16", "vitlargepatch16224", "vitlarge16"),
    ("vits16", "vitsmallpatch16224", "vitsmall16"),
    ("vitt16", "vittinypatch16224", "vittiny16"),
    *(
        (f"{family}{size}", f"{family}{size[0]}", f"{family}{size}{rest}")
        for family, rest in (
            ("convnext", "224"),
            ("swin", "patch4window7224"),
            ("deit", "patch16224"),
        )
        for size in ("tiny", "small", "base", "large")
    ),
)
_CANONICAL = {key: keys[0] for keys in _TWINS for key in keys}
# Endings that say how a network was trained or is stored, and not which it is.
_ENDING = re.compile(r"([_ -](int8|fp16|quant|ssld))+$|_\d{4}[a-z]{3}(_int8|_fp16)?$")
# A class of transformers with the name of a configuration: BertForQuestionAnswering(bert-base).
_OF_CLASS = re.compile(r"^[A-Z]\w+\((?P<name>[^,)=]+)[^)=]*\)$")
_BRACKETS = re.compile(r"\s*\([^()=]*\)")
_SPACES = ("gpt:", "nb201:", "fbnet:", "ofa:", "accel:", "op:")


def is_reference_of_space(text: str) -> bool:
    """Whether a text is the reference of an architecture of a space, or of an operator."""
    return text.startswith(_SPACES)


def plain_name(text: str) -> str:
    """Name without package, organisation, size of the input, training and element type.

    `timm:resnet50.a1_in1k@224`, `torchvision:resnet50` and `resnet50_int8` are `resnet50`.
    """
    name = text.strip().partition("@")[0]
    name = name.rpartition(":")[2] if ":" in name else name
    of_class = _OF_CLASS.match(name)
    name = of_class["name"] if of_class else _BRACKETS.sub("", name)
    name = name.rpartition("/")[2] or name
    # timm writes the training behind a dot; "v1.5" and "x1.0" have a digit there.
    name = re.sub(r"\.[a-z]\w*$", "", name)
    return _ENDING.sub("", name).strip()


@cache
def network_key(text: str) -> str:
    """Spelling of a network's name for comparisons: lower-case letters and digits.

    Names of one network in several packages have one key: "ViT-B/16", `vit_b_16` and
    `timm:vit_base_patch16_224`.
    """
    whole = re.sub(r"[^a-z0-9]", "", text.lower())
    if whole in _CANONICAL:
        return _CANONICAL[whole]
    key = re.sub(r"[^a-z0-9]", "", plain_name(text).lower())
    key = re.sub(r"^tf(?=efficientnet|mobilenet)", "", key)
    return _CANONICAL.get(key, key)
