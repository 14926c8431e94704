"""Energy of forward passes beside their latency: where it is known, and a sentence on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from nasplug.predicting.intervals import interval_of, shown
from nasplug.predicting.zoo import (
    NETWORK_ENERGY,
    NETWORK_LATENCY,
    ArchitecturePredictor,
    is_known,
    load_predictor,
    load_shipped,
)
from nasplug.predictors.features.runtimes import EAGER, way_name
from nasplug.predictors.latency.device_profile import DeviceProfile
from nasplug.search_spaces import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nasplug.predictors.features.runtimes import Way
    from nasplug.predictors.hardware import Hardware
    from nasplug.predictors.prediction import Prediction
    from nasplug.search_spaces import Architecture, Graph, SearchSpace

__all__ = [
    "JOULES",
    "energy_gap",
    "energy_json",
    "energy_note",
    "energy_text",
    "graph_energy",
    "latency_of_energy",
    "space_energy",
]

# Columns of an energy in a table: its mean, and the ends of its interval.
JOULES = ("energy_j", "energy_lower_j", "energy_upper_j")


def graph_energy(
    graph: Graph, device: Hardware, batch_size: int, runtime: str | None, latency: Prediction
) -> Prediction | None:
    """The energy of a forward pass of a whole network with this latency; None if it is not known.

    It is not known of a calibrated device, whose data sheet may say another latency.
    """
    if isinstance(device, DeviceProfile):
        return None
    model = load_predictor(NETWORK_ENERGY, "torch").model
    try:
        energy: Prediction = model.predict(
            [graph], device, batch_size, runtime or EAGER, latency=latency
        )
        return energy
    except InputError:
        return None


def space_energy(
    space: SearchSpace,
    architectures: Sequence[Architecture | Graph],
    device: Hardware,
    batch_size: int,
    way: Way | None,
    timed: object = None,
    latency: Prediction | None = None,
) -> Prediction | None:
    """The energies of architectures of a space, a row each; None where they are not known.

    Args:
        space: The space.
        architectures: The architectures, or the graphs of their networks.
        device: The device.
        batch_size: Inputs of a forward pass.
        way: How networks are run.
        timed: Predictor of the latency.
        latency: Latencies that it predicted on the device.
    """
    if isinstance(device, DeviceProfile) or not is_known(space, "energy"):
        return None
    predictor: Any = load_shipped(space, "energy")
    try:
        if way is not None:
            predictor = predictor.in_way(way)
        known = latency_of_energy(predictor, timed, device, latency)
        return cast("Prediction", predictor.predict(architectures, device, batch_size, known))
    except InputError:
        return None


def latency_of_energy(
    energy: object, timed: object, device: Hardware | None, latency: Prediction | None
) -> Prediction | None:
    """The predicted latencies, if an energy of the same networks rests on these very ones.

    It rests on those of the package's own predictor in its own way; None otherwise, as on a
    calibrated device.

    Args:
        energy: Predictor of the energy.
        timed: Predictor of the latency.
        device: The device.
        latency: Latencies that were predicted on it.
    """
    if device is None or latency is None or isinstance(device, DeviceProfile):
        return None
    if not (isinstance(energy, ArchitecturePredictor) and isinstance(timed, ArchitecturePredictor)):
        return None
    # A predictor that was fitted, not loaded, has no card, and may rest on another latency.
    is_shares = energy.card.get("predictor") == NETWORK_ENERGY
    is_own = timed.sha256 is not None and timed.sha256 == load_predictor(NETWORK_LATENCY).sha256
    is_same_way = energy.runtime_on(device) == timed.runtime_on(device)
    return latency if is_shares and is_own and is_same_way else None


def energy_json(energy: Prediction | None, row: int = 0) -> dict[str, Any] | None:
    """The energy of a network for JSON: mean, ends of the interval, and evidence."""
    if energy is None:
        return None
    ends = [float(end[row, 0]) for end in (energy.mean, energy.lower, energy.upper)]
    return {**interval_of(ends, "J"), "evidence": energy.evidence}


def energy_text(joules: Mapping[str, Any], between: str = " to ") -> str:
    """A mean with the ends of its interval for a table, from those of `energy_json`."""
    text = shown(joules, ".3g")
    return f"{text['mean']} ({text['lower']}{between}{text['upper']})"


def energy_gap(device: Hardware, is_beside: bool = False) -> str:
    """Say why an energy is missing, where a reader expects one; empty elsewhere.

    It is expected on a GPU, also one that was calibrated, and on any device in a table that has
    energies of others.

    Args:
        device: The device whose energy is not known.
        is_beside: Whether energies on other devices stand beside it.
    """
    if isinstance(device, DeviceProfile) and device.kind == "gpu":
        return (
            f"the energy on {device.name} is not known: your measurements tell its latency, not "
            "its power; the device without them has one"
        )
    return "energies are known on large GPUs alone" if is_beside else ""


def energy_note(evidence: str, device: Hardware) -> str:
    """Say in a sentence what an energy rests on.

    Args:
        evidence: That of the energy's `Prediction`.
        device: The GPU.
    """
    if evidence == "measured":
        # It loads PyTorch, which a finished search need not.
        from nasplug.predictors.latency.network_energy import measured_way

        run = way_name(measured_way(device).text)
        return (
            f"energy is measured: learned from the meter of {device.name} at this batch size "
            f"({run} by autocast); its interval reflects the errors on networks that were left out"
        )
    return (
        f"energy is zero-shot: the latency times a share of the {device.power_w:g} W of "
        f"{device.name}'s data sheet, which the meters of language models on seven GPUs tell"
    )
