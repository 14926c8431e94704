"""Facts on the candidates of a search that its result shows, and the candidates themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nasplug.candidates.candidates import Candidates
from nasplug.predicting.evidence import LatencyEvidence

__all__ = ["Facts", "Scored", "facts_of"]


@dataclass(frozen=True, eq=False)
class Scored:
    """Candidates, and indices into their architectures.

    Attributes:
        candidates: Architectures that were scored before the trials.
        trials: Indices of all trials that count, in order.
        front: Indices of the rows of the front, in their order.
    """

    candidates: Candidates
    trials: tuple[int, ...]
    front: tuple[int, ...]


@dataclass(frozen=True)
class Facts:
    """Facts on scored candidates that a result shows, as data that a study can keep.

    Attributes:
        size: Number of architectures.
        whole: Whether these are all members of the space.
        evidence: The kind of data behind the latency; None without a latency.
        interval: Probability that the predicted intervals are meant to cover.
        input_side: Side of the input images of the data set, in pixels.
        latency_side: Side of the input images of the network whose latency is predicted, in pixels.
        notes: Sentences that a reader of the scores must know.
        learned: Networks on the device that the latency was learned from (see `Prediction`).
        latency: Entries of `LatencyEvidence.to_json` for the front; None without a latency.
        latency_on: The same for each of several devices, by the name of the latency.
        latency_notes: Sentences of `LatencyEvidence.notes`.
        familiar: `LatencyEvidence.familiar` of the front.
        values: Predicted values of the objectives of each row of the front; empty where trials
            are observed.
    """

    size: int
    whole: bool
    evidence: str | None
    interval: float
    input_side: int
    latency_side: int
    notes: tuple[str, ...]
    learned: int
    latency: Mapping[str, Any] | None
    latency_notes: tuple[str, ...]
    familiar: tuple[bool, ...]
    values: tuple[tuple[float, ...], ...] = ()
    latency_on: Mapping[str, Any] = field(default_factory=dict)


def facts_of(
    candidates: Candidates,
    dataset: str,
    values: tuple[tuple[float, ...], ...] = (),
    evidence: Mapping[str, LatencyEvidence] | None = None,
    notes: tuple[str, ...] = (),
) -> Facts:
    """The facts on candidates that were scored for an image set, and on the front's latencies.

    `notes` are sentences on other quantities.
    """

    def side(task: str) -> int:
        graph = candidates.space.to_graph(candidates.architectures[0], task)
        return int(graph.attribute("height")[0])

    known = evidence or {}
    first = next(iter(known.values()), None)
    # Without a latency there need not be a predictor that knows its image set.
    has_latency = candidates.scores.evidence is not None
    latency_dataset = candidates.latency_dataset if has_latency else dataset

    return Facts(
        size=len(candidates),
        whole=candidates.whole,
        evidence=candidates.scores.evidence,
        interval=candidates.scores.interval,
        input_side=side(dataset),
        latency_side=side(latency_dataset),
        notes=(*candidates.notes(), *notes),
        learned=candidates.scores.learned,
        latency=None if first is None else first.to_json(),
        latency_notes=tuple(note for found in known.values() for note in found.notes()),
        familiar=() if first is None else first.familiar,
        values=values,
        latency_on={n: e.to_json() for n, e in known.items()} if len(known) > 1 else {},
    )
