"""Sentences on a predicted latency: its evidence, its runtime, and an interval that is too wide."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from nasplug.predicting.intervals import WIDEST
from nasplug.predictors.features.runtimes import way_name

__all__ = ["evidence_note", "limit_note", "narrowing", "runtime_note", "unlike_note"]

# Devices that a sentence names; of more of them only some.
MOST_NAMED = 6
# Evidence of a latency -> sentence on it, for a device and a batch size.
_EVIDENCE = {
    "measured": "measured: the latency predictor learned from measurements on {0} at batch {1}; "
    "its intervals reflect its errors on networks that were left out of training",
    "few-shot": "few-shot: the latency predictor is calibrated with a few measurements on {0}; "
    "it predicts at batch {1}",
    "unlike": "measured: the latency predictor learned from measurements of other kinds of "
    "networks on {0} at batch {1}",
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
    evidence: str,
    device: str,
    batch_size: int,
    runtime: str | None = None,
    learned: int = 0,
    is_unlike: bool = False,
) -> str:
    """Explain in a sentence which measurements a predicted latency rests on.

    Args:
        evidence: That of the latency's `Prediction`.
        device: Name of the device.
        batch_size: Images per forward pass.
        runtime: Runtime of the networks; None to name none.
        learned: Number of networks on the device that its class's model learned from, where the
            latency is that model's.
        is_unlike: Whether no network is like those that were measured at this batch size.
    """
    way = "" if runtime is None else f" ({way_name(runtime)})"
    if learned:
        sentence = _EVIDENCE["learned"].format(device, way, learned)
        return sentence.replace("from 1 networks", "from 1 network")
    kind = "unlike" if is_unlike and evidence == "measured" else evidence
    return _EVIDENCE[kind].format(device, f"{batch_size}{way}")


def unlike_note(evidence: str, unlike: int, networks: int, rests_on: str = "") -> str:
    """Say in a sentence what the latencies of networks unlike the measured ones rest on.

    Args:
        evidence: That of the latency's `Prediction`.
        unlike: Number of networks that are unlike the measured ones.
        networks: Number of networks that were predicted.
        rests_on: Errors that the intervals of unlike networks reflect, in words.
    """
    is_one = networks == 1
    be = "is" if unlike == 1 else "are"
    which = "this network is" if is_one else f"{unlike} of the {networks} networks {be}"
    if unlike == networks > 1:
        which = "these networks are"
    if evidence == "few-shot":
        predictions = "the prediction rests" if unlike == 1 else "their latencies rest"
        return (
            f"{which} unlike those that you measured; {predictions} mostly on the data sheet, at "
            "the scale of your measurements"
        )
    learned = "in the training data" if is_one else "whose latencies were learned"
    intervals = "its interval reflects" if unlike == 1 else "their intervals reflect"
    return f"{which} unlike those {learned}{f'; {intervals} {rests_on}' if rests_on else ''}"


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
    advice += f"nasplug calibrate --space {shlex.quote(space)} --suggest 10 lists"
    if evidence == "few-shot":
        # The device is calibrated already.
        advice = "and calibrate the device again with these measurements"
    return (
        "only the order of magnitude is shown, because the upper end of the interval is more than "
        f"{WIDEST:g} times the lower end: {cause}; measure {network} on the device, {advice}"
    )


def limit_note(limits: Sequence[str]) -> str:
    """Say in a sentence what a limit on latency means where intervals are too wide for numbers."""
    return (
        f"{_listed(limits)} is checked against such a wide interval: a network that meets the "
        "limit on the device may be left out, and only measurements can tell"
    )


def _listed(names: Sequence[str]) -> str:
    """Names in a sentence, joined by commas and "and"."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
