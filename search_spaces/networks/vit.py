"""Vision transformers: the sizes of ViT and DeiT between tiny and large, and choices of one's own.

ViT (Dosovitskiy et al., ICLR 2021) and DeiT (Touvron et al., ICML 2021) are one form, trained by
different recipes. The size of a head does not depend on the width, and heads and MLPs may differ by
layer, as in AutoFormer (Chen et al., ICCV 2021), whose relative positions are not built.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

from nasplug.search_spaces.errors import InputError, closest
from nasplug.search_spaces.networks.encodings import shown
from nasplug.search_spaces.networks.family import (
    Choices,
    Decision,
    Family,
    Value,
    at_least,
)
from nasplug.search_spaces.networks.network_space import NetworkSpace
from nasplug.search_spaces.networks.own_choices import (
    check_names,
    check_whole,
    choices_text,
    distinct_values,
    read_choices,
)
from nasplug.search_spaces.networks.vit_model import VisionTransformer
from nasplug.search_spaces.networks.vit_network import VisionTransformerBuilder

__all__ = ["VitChoices", "VitSpace", "vit"]

_NAME = "vit"
_KIND = "a vision transformer"
_FORM = (
    f"{_KIND}; write vit:embed=384,depth=12,heads=6,ratio=4,patch=16,resolution=224, or a name "
    "such as vit_base_patch16_224 or deit_tiny_patch16_224"
)
# Width, depth and heads of the published sizes; the MLPs are four times as wide.
_SIZES = {
    "tiny": (192, 12, 3),
    "small": (384, 12, 6),
    "base": (768, 12, 12),
    "large": (1024, 24, 16),
}
# Published for DeiT.
_DEIT = ("tiny", "small", "base")
_DEIT_PATCH = 16
# DeiT-S, whose values are those of decisions that are left out, where the choices have them.
_STANDARD = {"embed": 384, "depth": 12, "heads": 6, "ratio": 4, "patch": 16, "resolution": 224}
_LISTS = tuple(_STANDARD)
# A number, or one a layer.
_VALUE = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?(-[0-9]{1,9}(\.[0-9]{1,9})?)*")
# Decisions that layers may make by themselves.
_OF_LAYERS = ("heads", "ratio")


@dataclass(frozen=True)
class VitChoices:
    """Choices of a space of vision transformers.

    Attributes:
        embed: Numbers that a patch may be embedded in.
        depth: Numbers of layers.
        heads: Heads that a layer may have.
        ratio: Widths that an MLP may have, in units of the embedding.
        patch: Sides that a patch may have, in pixels.
        resolution: Sides that an image may have, in pixels.
        head_size: Numbers of a head; 0 for the embedding divided by the heads.
        per_layer: Whether each layer has heads and an MLP of its own.

    Raises:
        InputError: If a choice is impossible, such as a patch that divides no image.
    """

    embed: tuple[int, ...] = tuple(range(192, 1025, 64))
    depth: tuple[int, ...] = tuple(range(6, 25))
    heads: tuple[int, ...] = tuple(range(3, 17))
    ratio: tuple[float, ...] = (2, 3, 4)
    patch: tuple[int, ...] = (8, 14, 16, 32)
    resolution: tuple[int, ...] = (224, 384)
    head_size: int = 64
    per_layer: bool = False

    def __post_init__(self) -> None:
        for name in _LISTS:
            object.__setattr__(self, name, distinct_values(name, getattr(self, name)))
            for value in getattr(self, name):
                _check_value(name, value)
        # Equal numbers have equal texts.
        whole = (int(ratio) if ratio == int(ratio) else ratio for ratio in self.ratio)
        object.__setattr__(self, "ratio", tuple(whole))
        check_whole("head_size", self.head_size, 0)
        if self.per_layer not in (False, True):
            raise InputError(f"per_layer is {self.per_layer}; it may be 0 or 1")
        object.__setattr__(self, "per_layer", bool(self.per_layer))
        for embed in self.embed if not self.head_size else ():
            wrong = [heads for heads in self.heads if embed % heads]
            if wrong:
                raise InputError(
                    f"{wrong[0]} heads do not divide an embedding of {embed}; choose heads that "
                    "divide each of embed, or a head_size such as 64"
                )
        for patch in self.patch:
            if not self.sides(patch):
                raise InputError(
                    f"a patch of {patch} pixels does not divide images of "
                    f"{_listed(self.resolution)}; choose a resolution that is a multiple of it"
                )

    def sides(self, patch: int) -> tuple[int, ...]:
        """Sides of images that a patch divides."""
        return tuple(side for side in self.resolution if side % patch == 0)

    def _side_name(self, patch: int) -> str:
        """Name of the decision on the images of a patch; its own if it does not divide all."""
        whole = self.sides(patch) == self.resolution
        return "resolution" if whole else f"resolution_{patch}"

    def side(self, chosen: Choices) -> int:
        """Side of the images of a network, which a patch may leave no choice of."""
        patch = chosen["patch"]
        return int(chosen.get(self._side_name(patch), self.sides(patch)[0]))

    def decisions(self) -> tuple[Decision, ...]:
        """Decisions of a network, those of the whole first."""
        depth = self._decision("depth")
        decisions = [self._decision("embed"), depth]
        if not self.per_layer:
            decisions += [self._decision(name) for name in _OF_LAYERS]
        patch = self._decision("patch")
        decisions.append(patch)
        for name in dict.fromkeys(map(self._side_name, self.patch)):
            patches = tuple(side for side in self.patch if self._side_name(side) == name)
            sides = self.sides(patches[0])
            if len(sides) > 1 or name == "resolution":
                needs = (("patch", patches),) if patches != self.patch else ()
                decisions.append(Decision(name, sides, _standard("resolution", sides), needs))
        for layer in range(1, self.depth[-1] + 1) if self.per_layer else ():
            exists = (at_least(depth, layer),) if layer > self.depth[0] else ()
            for name in _OF_LAYERS:
                decisions.append(self._decision(name, f"{name}_{layer}", exists))
        return tuple(decisions)

    def _decision(self, choice: str, name: str = "", needs: Any = ()) -> Decision:
        values = getattr(self, choice)
        return Decision(name or choice, values, _standard(choice, values), needs)

    def of_layers(self, chosen: Choices, name: str) -> tuple[Any, ...]:
        """Values of a decision about layers, a value each."""
        layers = range(1, chosen["depth"] + 1)
        return tuple(chosen[f"{name}_{k}" if self.per_layer else name] for k in layers)

    def model(self, chosen: Choices) -> VisionTransformer:
        """Make the vision transformer of a choice for each decision."""
        embed = chosen["embed"]
        return VisionTransformer(
            embed=embed,
            heads=self.of_layers(chosen, "heads"),
            hidden=tuple(int(embed * ratio) for ratio in self.of_layers(chosen, "ratio")),
            patch=chosen["patch"],
            side=self.side(chosen),
            head_size=self.head_size,
        )

    def write(self, chosen: Choices) -> str:
        """Write the text of a network, with a number a layer where layers differ."""
        parts = {"embed": chosen["embed"], "depth": chosen["depth"]}
        for name in _OF_LAYERS:
            values = self.of_layers(chosen, name)
            parts[name] = "-".join(map(str, values)) if len(set(values)) > 1 else values[0]
        parts |= {"patch": chosen["patch"], "resolution": self.side(chosen)}
        return f"{_NAME}:" + ",".join(f"{name}={value}" for name, value in parts.items())

    def read(self, text: str) -> dict[str, Any]:
        """Read the text of a network; what is left out is that of the standard network.

        Raises:
            InputError: If it is of another form, or its patch does not divide its images.
        """
        given = _read_pairs(text)
        chosen: dict[str, Any] = {d.name: d.default for d in self.decisions()}
        for name in ("embed", "depth", "patch"):
            chosen[name] = given.pop(name, chosen[name])
        if chosen["patch"] not in self.patch or chosen["depth"] not in self.depth:
            # The space says what it has.
            return chosen
        side = given.pop("resolution", None)
        if side is not None:
            chosen |= self._read_side(chosen["patch"], side)
        for name, values in given.items():
            chosen |= self._read_layers(name, values, chosen["depth"])
        return chosen

    def _read_side(self, patch: int, side: int) -> dict[str, Any]:
        sides = self.sides(patch)
        if side % patch:
            raise InputError(
                f"a patch of {patch} pixels does not divide an image of {side}; choose a "
                f"resolution of {_listed(sides)}"
            )
        if side not in sides:
            raise InputError(f"resolution is {side}, not one of {', '.join(map(str, sides))}")
        return {self._side_name(patch): side}

    def _read_layers(self, name: str, values: Any, depth: int) -> dict[str, Any]:
        """Read a number for all layers, or one for each."""
        several = values if isinstance(values, tuple) else (values,) * depth
        if len(several) != depth:
            raise InputError(f"{name} has {len(several)} numbers for {depth} layers; give one each")
        if self.per_layer:
            return {f"{name}_{layer}": value for layer, value in enumerate(several, 1)}
        if len(set(several)) > 1:
            raise InputError(
                f"{name} differs by layer, but this space has a number for all layers; its choice "
                "per_layer=1 lets them differ"
            )
        return {name: several[0]}

    def standards(self) -> dict[str, dict[str, Value]]:
        """Published networks that the choices hold, by timm's names, as values of decisions."""
        found = {}
        for size, (embed, depth, heads) in _SIZES.items():
            values = {"embed": embed, "depth": depth, "heads": heads, "ratio": 4}
            if any(value not in getattr(self, name) for name, value in values.items()):
                continue
            if self.head_size not in (0, embed // heads):
                continue
            for patch in self.patch:
                for side in self.sides(patch):
                    text = f"embed={embed},depth={depth},heads={heads},ratio=4"
                    chosen = self.read(f"{text},patch={patch},resolution={side}")
                    found[f"vit_{size}_patch{patch}_{side}"] = chosen
                    if size in _DEIT and patch == _DEIT_PATCH:
                        found[f"deit_{size}_patch{patch}_{side}"] = chosen
        return found

    def family(self) -> Family:
        """Make the family of all networks."""
        return Family(
            _NAME,
            self.decisions(),
            lambda net, chosen, classes: net.build(),
            standards=self.standards(),
            start=lambda task, chosen: VisionTransformerBuilder(self.model(chosen)),
            write=self.write,
            read=self.read,
            code=lambda chosen, task: ("vit", self.model(chosen).constants()),
        )


class VitSpace(NetworkSpace):
    """Space of vision transformers, with a class token and learned positions.

    The text of a network is `vit:embed=384,depth=12,heads=6,ratio=4,patch=16,resolution=224`; what
    is left out is that of DeiT-S, where the choices have it. Where layers differ, `heads` and
    `ratio` have a number each, joined by dashes. Graphs are those that timm's modules have.

    Args:
        choices: Choices of the space; also by their names, such as `depth=(6, 12)`.
        name: Name of the space; by default `vit:` and the choices.

    Example:
        >>> import nasplug
        >>> space = nasplug.space("vit")
        >>> arch = space.parse("deit_tiny_patch16_224")
        >>> arch.text, int(space.to_graph(arch).total("params"))
        ('vit:embed=192,depth=12,heads=3,ratio=4,patch=16,resolution=224', 5717416)
        >>> own = nasplug.space("vit:embed=192|216,depth=1..2,heads=3|4,ratio=3.5|4,per_layer=1")
        >>> own.parse("vit:depth=2,heads=3-4,ratio=3.5").text.partition(",patch")[0]
        'vit:embed=216,depth=2,heads=3-4,ratio=3.5'
    """

    family: Family

    def __init__(self, choices: VitChoices | None = None, name: str | None = None, **own: Any):
        if choices is None:
            check_names(own, _FIELDS, _KIND)
            choices = VitChoices(**own)
        self.choices = choices
        text = choices_text(choices)
        super().__init__(choices.family(), name or (f"{_NAME}:{text}" if text else _NAME))

    def _form(self) -> str:
        return _FORM


_FIELDS = tuple(field.name for field in fields(VitChoices))


def vit(part: str = "") -> VitSpace:
    """Open the space `vit`, or one of one's own choices.

    Args:
        part: Choices such as `"embed=192|384,depth=6..12,patch=16"`, those that are left out being
            the default ones. A range of whole numbers is `6..12`.

    Raises:
        InputError: If there is no such choice, or a choice is impossible.
    """
    return _of_choices(VitChoices(**read_choices(part, _FIELDS, _LISTS, _KIND, decimals="ratio")))


@cache
def _of_choices(choices: VitChoices) -> VitSpace:
    return VitSpace(choices)


def _standard(name: str, values: tuple[Any, ...]) -> Any:
    """The value of the standard network, or the largest."""
    return _STANDARD[name] if _STANDARD[name] in values else values[-1]


def _listed(values: tuple[Any, ...]) -> str:
    return " or ".join(map(str, values))


def _check_value(name: str, value: Any) -> None:
    if name != "ratio":
        check_whole(name, value)
    elif isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1_000:
        raise InputError(f"ratio {value!r} is no number between 0 and 1,000")


def _read_pairs(text: str) -> dict[str, Any]:
    """Read `name=value` pairs; a number a layer is joined by dashes."""
    found: dict[str, Any] = {}
    for item in text.split(","):
        name, equals, word = (part.strip() for part in item.partition("="))
        if not equals or not _VALUE.fullmatch(word):
            raise InputError(f"{shown(text)} is not {_FORM}")
        if name not in _LISTS:
            raise InputError(f"unknown decision {name[:40]!r}; known: {closest(name, _LISTS)}")
        if name in found:
            raise InputError(f"decision {name!r} is given twice; give it once")
        numbers = tuple(_number(part) for part in word.split("-"))
        if name not in _OF_LAYERS and "-" in word:
            raise InputError(f"{name} is {shown(word)}; give one number")
        found[name] = numbers if "-" in word else numbers[0]
    return found


def _number(word: str) -> float:
    return float(word) if "." in word else int(word)
