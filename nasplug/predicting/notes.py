"""Sentences on a predicted latency: its evidence, its runtime, and an interval that is too wide."""

from __future__ import annotations

from collections.abc import Sequence

from nasplug.predicting.intervals import WIDEST
from nasplug.predictors.features.runtimes import way_name

__all__ = ["evidence_note", "narrowing", "runtime_note"]

# Devices that a sentence names; of more of them only some.
MOST_NAMED = 6
# Evidence of a latency -> sentence on it, for a device and a batch size.
_EVIDENCE = {
    "measured": "measured: the latency predictor learned from measurements on {0} at batch {1}; "
    "its intervals reflect its errors on networks that were left out of training",
    "few-shot": "few-shot: the latency predictor is calibrated with a few measurements on {0} at "
    "batch {1}",
    "learned": "measured: the latency predictor learned from {2} networks measured on {0}{1}; its "
    "interval is still that of devices that were left out of training",
    "zero-shot": "zero-shot: {0} was not measured at batch {1}; the latency predictor uses its "
    "data sheet and measurements on other devices, and its intervals reflect its errors on "
    "devices that were left out of training",
}
# Evidence of a latency -> cause of a wide interval.
_CAUSES = {
    "measured": "the networks that were measured on {0} are unlike {1}",
    "learned": "the interval is that of devices that were left out of training",
    "few-shot": "your measurements on {0} say too little about {1}",
    "zero-shot": "{0} was not measured",
}


def evidence_note(
    evidence: str, device: str, batch_size: int, runtime: str | None = None, learned: int = 0
) -> str:
    """Explain in a sentence which measurements a predicted latency rests on.

    Args:
        evidence: That of the latency's `Prediction`.
        device: Name of the device.
        batch_size: Images per forward pass.
        runtime: Runtime of the networks; None to name none.
        learned: Number of networks on the device that its class's model learned from, where the
            latency is that model's.
    """
    way = "" if runtime is None else f" ({way_name(runtime)})"
    if learned:
        sentence = _EVIDENCE["learned"].format(device, way, learned)
        return sentence.replace("from 1 networks", "from 1 network")
    return _EVIDENCE[evidence].format(device, f"{batch_size}{way}")


def runtime_note(runtime: str, devices: Sequence[str], alike: Sequence[str] = ()) -> str:
    """Say in a sentence which devices were measured in a runtime, and which runtimes are alike."""
    where = f"on {_listed(devices)} only" if devices else "on no device"
    if len(devices) > MOST_NAMED:
        where = f"on {len(devices)} devices, such as {_listed(devices[:3])}"
    sentence = f"{way_name(runtime)} was measured {where}"
    if alike:
        others = _listed([way_name(name) for name in alike])
        sentence += f"; {others} would get the same prediction, because no measurement tells "
        sentence += "these runtimes apart"
    return sentence


def narrowing(
    evidence: str, device: str, network: str, space: str = "nnlqp", learned: int = 0
) -> str:
    """Explain in a sentence why only the order of magnitude is shown, and what would narrow it.

    The evidence is that of the latency's `Prediction`; `network` names it, as in "this network";
    `learned` is that of `evidence_note`.
    """
    cause = _CAUSES["learned" if learned else evidence].format(device, network)
    advice = "or calibrate the device with ten networks, which "
    advice += f"nasplug calibrate --space {space} --suggest 10 lists"
    if evidence == "few-shot":
        # The device is calibrated already.
        advice = "and calibrate the device again with these measurements"
    return (
        "only the order of magnitude is shown, because the upper end of the interval is more than "
        f"{WIDEST:g} times the lower end: {cause}; measure {network} on the device, {advice}"
    )


def _listed(names: Sequence[str]) -> str:
    """Names in a sentence, joined by commas and "and"."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
