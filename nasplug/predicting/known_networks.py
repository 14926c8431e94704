"""Networks of a table of latencies that other packages build, by names such as `timm:resnet50`."""

from __future__ import annotations

from difflib import get_close_matches

from nasplug.datasets.network_graphs import shipped_network_graphs
from nasplug.datasets.trained_networks import shipped_trained_networks
from nasplug.search_spaces import Architecture, FiniteSpace, InputError, SearchSpace

__all__ = [
    "KNOWN_NETWORKS",
    "checked_architecture",
    "is_known_name",
    "known_accuracy",
    "known_network",
]

# Stands for the space of networks that are known by their names.
KNOWN_NETWORKS = "known networks"
_PACKAGES = (
    *("timm", "torchvision", "pytorchcv", "transformers", "ultralytics", "ncnn"),
    *("paddleclas", "kernelbench", "gpt", "op"),
)
# Kinds of references whose graph follows from the text.
_BUILT = frozenset({"gpt", "op"})
_USUAL_SIDE = "@224"


def is_known_name(text: str) -> bool:
    """Whether a network's text in a table names the network of another package, or an operator."""
    return text.partition(":")[0] in _PACKAGES and ":" in text


def known_network(text: str) -> Architecture:
    """Network of a name; one without a size of the input has the usual size, 224 where there is it.

    Raises:
        InputError: If no network is known by that name.
    """
    reference = text if text.partition(":")[0] in _BUILT else _reference(text)
    return Architecture(KNOWN_NETWORKS, text, reference, reference)


def known_accuracy(text: str) -> float | None:
    """Measured ImageNet top-1 accuracy of a network of timm, in %; None where it is not known.

    A name without its training, such as `"timm:resnet50"`, has the accuracy of its best training.
    """
    package, _, name = text.partition("@")[0].partition(":")
    if package != "timm":
        return None
    try:
        side = int(known_network(text).arch_id.rpartition("@")[2])
    except (InputError, ValueError):
        return None
    trained = shipped_trained_networks()
    found = [
        float(top1)
        for other, size, top1 in zip(trained.names, trained.sides, trained.top1, strict=True)
        if size == side and name in (other, other.partition(".")[0])
    ]
    return max(found, default=None)


def _reference(text: str) -> str:
    networks = shipped_network_graphs()
    name, at, side = text.partition("@")
    if name.startswith("timm:"):
        # Weights change no graph: timm names them after a point, as in resnet50.a1_in1k.
        text = f"{name.partition('.')[0]}{at}{side}"
    if text in networks:
        return text
    sizes = [name for name in networks.references if name.partition("@")[0] == text]
    usual = f"{text}{_USUAL_SIDE}"
    if sizes:
        return usual if usual in sizes else sizes[0]
    name = text.partition("@")[0]
    near = [known for known in networks.references if known.partition("@")[0] == name]
    names = list(dict.fromkeys(known.partition("@")[0] for known in networks.references))
    # The beginning of a name is meant more often than another name of its length.
    near = near or sorted((n for n in names if n.startswith(name)), key=len)[:3]
    near = near or get_close_matches(name, names, 3)
    advice = f"; known is {', '.join(near)}" if near else "; give its ONNX file instead"
    raise InputError(f"no network {text[:80]!r} is known{advice}")


def checked_architecture(space: SearchSpace, text: str) -> Architecture:
    """Read an architecture's text, or its index in a space that has an order.

    Raises:
        InputError: If it is neither; the message says so if it is the name of a network of timm.
    """
    try:
        return space.parse(text)
    except InputError:
        if isinstance(space, FiniteSpace) and text.isascii() and text.isdecimal():
            return _member(space, text)
        if space.name.partition(":")[0] == "timm" or not _is_in_timm(text):
            raise
    raise InputError(
        f"{text!r} is no architecture of the space {space.name}, but a network of timm; write "
        f"timm:{text}"
    )


def _member(space: FiniteSpace, index: str) -> Architecture:
    position = int(index)
    if position >= len(space):
        raise InputError(
            f"{index[:80]!r} is neither an architecture of {space.name} nor an index; the last "
            f"index is {len(space) - 1:,}"
        )
    return space[position]


def _is_in_timm(name: str) -> bool:
    try:
        known_network(f"timm:{name}")
    except InputError:
        return False
    return True
