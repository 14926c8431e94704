"""Evidence behind predicted latencies on a device: measurements, and errors of predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nasplug.predicting.architecture_predictor import ArchitecturePredictor
from nasplug.predicting.notes import evidence_note, runtime_note, unlike_note
from nasplug.predictors.capabilities import Explains, KnowsRuntimes
from nasplug.predictors.features.devices import compute_class
from nasplug.predictors.features.runtimes import EAGER, parse_way
from nasplug.search_spaces import Graph

if TYPE_CHECKING:
    from nasplug.measurements.nearest import NearMeasurement
    from nasplug.predicting.zoo import Scorer
    from nasplug.predictors.features.settings import Setting
    from nasplug.predictors.hardware import Hardware

__all__ = ["SHOWN", "LatencyEvidence", "latency_evidence", "near_measurements"]

# Number of published measurements beside a prediction.
SHOWN = 3


@dataclass(frozen=True)
class LatencyEvidence:
    """Evidence behind predicted latencies of networks on a device, at one batch size.

    Attributes:
        kind: `"measured"`, `"few-shot"` or `"zero-shot"`, see `Prediction`.
        device: Name of the device.
        batch_size: Images a forward pass.
        setting: `Way.text` of how networks are run; empty where the predictor knows a single way.
        learned: Networks measured on the device in this way, at any batch size, that the model of
            its class learned from; 0 where the latency is not that model's.
        familiar: Whether each network is like the measured ones; empty where that is not known.
        rests_on: Errors that the interval of a familiar network reflects, in words; empty where
            there is none, or that is not known.
        rests_on_unlike: Errors that the interval of another network reflects, likewise.
        measurements: Published measurements that are nearest, the nearest first.
        measured_so: Devices that were measured in this way on such a unit, at whatever batch size
            and with any number of threads.
        alike: Other ways that get the same prediction, as no measurement tells them apart.
    """

    kind: str
    device: str
    batch_size: int
    setting: str = ""
    learned: int = 0
    familiar: tuple[bool, ...] = ()
    rests_on: str = ""
    rests_on_unlike: str = ""
    measurements: tuple[NearMeasurement, ...] = ()
    measured_so: tuple[str, ...] = ()
    alike: tuple[str, ...] = ()

    def notes(self) -> list[str]:
        """Sentences: evidence, nearest measurements, what intervals reflect, alike runtimes."""
        unlike = self.familiar.count(False)
        is_unlike = bool(unlike) and unlike == len(self.familiar)
        runtime = self.setting or None
        notes = [
            evidence_note(self.kind, self.device, self.batch_size, runtime, self.learned, is_unlike)
        ]
        notes += [near.sentence for near in self.measurements]
        if self.rests_on:
            notes.append(f"the interval reflects {self.rests_on}")
        if self.setting and self.kind != "few-shot" and (self.alike or self.kind == "zero-shot"):
            words = replace(parse_way(self.setting), threads=0).text
            notes.append(runtime_note(words, self.measured_so, self.alike))
        if unlike:
            # Both kinds of networks may have the same intervals.
            rests_on = "" if self.rests_on_unlike == self.rests_on else self.rests_on_unlike
            notes.append(unlike_note(self.kind, unlike, len(self.familiar), rests_on))
        return notes

    def to_json(self) -> dict[str, Any]:
        """Entries for `json.dumps`."""
        return {
            "evidence": self.kind,
            "setting": self.setting or None,
            "learned": self.learned,
            "rests_on": self.rests_on or self.rests_on_unlike,
            "measured": [near.to_json() for near in self.measurements],
        }


def latency_evidence(
    predictor: Scorer,
    graphs: Sequence[Graph],
    device: Hardware,
    batch_size: int,
    kind: str,
    learned: int,
) -> LatencyEvidence:
    """Collect the evidence behind predicted latencies.

    Args:
        predictor: The predictor of the latencies.
        graphs: Networks as an `ArchitecturePredictor` reads them, at least one; the nearest
            measurements are those of the middle one.
        device: The device.
        batch_size: Images a forward pass.
        kind: `evidence` of the `Prediction`.
        learned: Its `learned`.
    """
    from nasplug.predicting.few_shot import familiar
    from nasplug.predictors.latency.device_profile import DeviceProfile

    plain = LatencyEvidence(kind, device.name, batch_size)
    if not isinstance(predictor, ArchitecturePredictor):
        return plain
    model = predictor.model
    if isinstance(device, DeviceProfile):
        near = familiar(predictor, device, graphs, batch_size, predictor.runtime)
        way = device.usual_way.text
        if predictor.runtime is not None:
            way = parse_way(predictor.runtime).completed(device.usual_way).text
        return replace(plain, setting=way, familiar=tuple(map(bool, near)))
    runtime = predictor.runtime_on(device)
    if not isinstance(model, Explains):
        if runtime is None or not isinstance(model, KnowsRuntimes):
            return plain
        alike = model.alike(device, batch_size, runtime)
        measured_so = model.measured_in(runtime)
        return replace(plain, setting=runtime, measured_so=measured_so, alike=alike)
    setting = model.setting(device, batch_size, runtime)
    way = runtime or setting.way.text or EAGER
    like = [bool(group) for group in model.groups(graphs, setting)]
    # The errors that count are the same for all networks of a kind.
    known, unlike = (
        model.rests_on([graphs[like.index(which)]], setting) if which in like else ""
        for which in (True, False)
    )
    return replace(
        plain,
        setting=way,
        learned=learned,
        familiar=tuple(like),
        rests_on=known,
        rests_on_unlike=unlike,
        measurements=near_measurements(graphs[len(graphs) // 2], setting),
        measured_so=model.measured_in(_words_of(way, setting)),
        alike=model.alike(device, batch_size, way),
    )


def _words_of(way: str, setting: Setting) -> str:
    """A `Way.text` with the unit that networks run on, and with any number of threads."""
    kind = {"gpu": "gpu", "cpu": "cpu"}.get(compute_class(setting.processor), "npu")
    told = parse_way(way)
    return replace(told, unit=told.unit or kind, threads=0).text


def near_measurements(graph: Graph, setting: Setting) -> tuple[NearMeasurement, ...]:
    """Published measurements that are nearest to a network in a setting."""
    from nasplug.measurements.nearest import nearest_measurements
    from nasplug.predictors.latency.class_models import told

    whole = replace(told(setting), hardware=setting.hardware, unit=setting.unit)
    return tuple(nearest_measurements(graph, replace(whole, threads=setting.threads), SHOWN))
