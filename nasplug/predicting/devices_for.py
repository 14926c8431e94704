"""Devices of the catalogue that run a network fast enough."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

from nasplug.arguments import checked_count, checked_probability
from nasplug.devices.catalogue import catalogue
from nasplug.predicting.comparison import Reader
from nasplug.predicting.intervals import is_usable
from nasplug.predicting.memory import memory_of
from nasplug.predicting.own_network import answered_batch, priced
from nasplug.predicting.predict import chosen_way, settled_way
from nasplug.predictors.features.runtimes import Way, asked_way
from nasplug.predictors.hardware import KINDS, Hardware
from nasplug.quantities import images_per_second as throughput_of
from nasplug.search_spaces import InputError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["devices_for"]

# Words that people use for kinds of devices.
_KIND_WORDS = {"board": "edge", "accelerator": "asic"}
_COLUMNS = (
    *("hardware", "kind", "year", "power_w", "runtime", "precision", "unit"),
    *("latency_ms", "lower_ms", "upper_ms", "images_per_second", "probability", "memory_mb"),
)


def devices_for(
    network: Any,
    example: Any = None,
    *,
    latency_ms: float | None = None,
    images_per_second: float | None = None,
    memory_mb: float | None = None,
    power_w: float | None = None,
    kind: str | None = None,
    year: int | None = None,
    batch_size: int | None = None,
    runtime: str | None = None,
    precision: str | None = None,
    unit: str | None = None,
    threads: int | None = None,
    probability: float = 0.5,
) -> pd.DataFrame:
    """List the devices of the catalogue that run a network fast enough, least power first.

    Args:
        network: A network as `nasplug.predict` takes it.
        example: Input of a PyTorch module.
        latency_ms: Longest time of a forward pass, in ms.
        images_per_second: Lowest number of images a second, instead of `latency_ms` or beside it.
        memory_mb: Highest memory of the forward pass, weights and activations in the way of the
            device, in MB; devices that have less memory are left out, too.
        power_w: Highest thermal design power, in W.
        kind: Kind of devices: `"gpu"`, `"cpu"`, `"board"`, `"phone"` or `"asic"`.
        year: Earliest year in which the device came out.
        batch_size: Images a forward pass; if left out one, or as many as a network has that is
            fixed to its own batch.
        runtime: Runtime; the usual one of each device if left out.
        precision: Precision; that of the network if left out.
        unit: Processor of phones and boards.
        threads: Threads on CPUs.
        probability: Lowest probability with which a device is fast enough.

    Returns:
        A row a device: its setting, the predicted latency with its 90 % interval, the probability
        that it is fast enough, and the memory of the forward pass. Devices whose interval is too
        wide to say anything, and those that cannot run the network so, are left out.

    Raises:
        InputError: If the network cannot be read, the limits make no sense, or no device is left.

    Example:
        >>> import nasplug
        >>> boards = nasplug.devices_for(
        ...     "timm:mobilenetv3_large_100", images_per_second=30, kind="board", year=2022
        ... )
        >>> bool((boards["probability"] >= 0.5).all())
        True
        >>> bool(boards["power_w"].is_monotonic_increasing)
        True
    """
    import pandas as pd

    if batch_size is not None:
        checked_count(batch_size, "batch size")
    checked_probability(probability)
    # A limit that makes no sense is refused before the network is read.
    _limit(latency_ms, images_per_second, 1)
    if memory_mb is not None and not 0 < memory_mb < float("inf"):
        raise InputError(f"the limit on memory is {memory_mb} MB; give a number above 0")
    devices = _among(kind, power_w, year)
    reader = Reader(network, example)
    graph, held, is_free = reader(None)
    asked = 1 if batch_size is None and is_free else batch_size
    batch_size = answered_batch(asked, held, is_free, reader.is_file)
    # A network whose batch is fixed is one sample, as `predict` counts.
    images = batch_size if is_free else 1
    limit = _limit(latency_ms, images_per_second, images)
    way = asked_way(runtime, precision, unit, threads)
    rows: list[dict[str, Any]] = []
    reasons: list[str] = []
    nearest: dict[str, Any] | None = None
    least: dict[str, Any] | None = None
    for device, found in _predicted(reader, devices, batch_size, way):
        if isinstance(found, str):
            reasons.append(found)
            continue
        row: dict[str, Any] = {"hardware": device.name, "kind": device.kind, "year": device.year}
        row |= {"power_w": device.power_w, **found["way"]}
        latency = found["latency"]
        ends = [float(getattr(latency, end)[0, 0]) for end in ("mean", "lower", "upper")]
        if not is_usable(ends[1], ends[2]):
            continue
        row |= dict(zip(("latency_ms", "lower_ms", "upper_ms"), ends, strict=True))
        row["images_per_second"] = throughput_of(ends[0], images)
        row["probability"] = float(latency.probability_at_most(limit, "latency")[0])
        row["memory_mb"] = memory_of(graph, images, Way(**found["way"])).total
        if memory_mb is not None:
            fits = not device.memory_gb or row["memory_mb"] <= 1e3 * device.memory_gb
            if fits and (least is None or row["memory_mb"] < least["memory_mb"]):
                least = row
            if not fits or row["memory_mb"] > memory_mb:
                continue
        if nearest is None or _nearness(row) > _nearness(nearest):
            nearest = row
        if row["probability"] >= probability:
            rows.append(row)
    if not rows and nearest is None and least is not None:
        raise InputError(
            f"no such device runs the network in {memory_mb:.4g} MB; the least is "
            f"{least['memory_mb']:.4g} MB, on {least['hardware']}"
        )
    if not rows:
        raise InputError(_nothing(limit, nearest, reasons))
    table = pd.DataFrame(rows, columns=list(_COLUMNS))
    return table.sort_values(["power_w", "latency_ms"], ignore_index=True)


def _limit(latency_ms: float | None, images_per_second: float | None, images: int) -> float:
    """The longest time of a forward pass, in ms."""
    limits = [value for value in (latency_ms, images_per_second) if value is not None]
    if not limits:
        raise InputError("give one limit: a number of images a second, or a latency in ms")
    for value in limits:
        if not 0 < value < float("inf"):
            raise InputError(f"the limit is {value}; give a number above 0")
    times = [] if latency_ms is None else [float(latency_ms)]
    if images_per_second is not None:
        times.append(throughput_of(images_per_second, images))
    return min(times)


def _among(kind: str | None, power_w: float | None, year: int | None) -> list[Hardware]:
    """Devices of a kind, within a power, and as young as is asked."""
    wanted = _KIND_WORDS.get(kind or "", kind)
    if wanted is not None and wanted not in KINDS:
        words = [name for name in (*KINDS, *_KIND_WORDS) if name not in _KIND_WORDS.values()]
        raise InputError(f"unknown kind of devices {kind!r}; known: {', '.join(words)}")
    devices = [
        device
        for device in catalogue()
        if wanted in (None, device.kind)
        and (power_w is None or device.power_w <= power_w)
        and (year is None or device.year >= year)
    ]
    if not devices:
        raise InputError(
            "the catalogue has no such device; allow more power, an earlier year or another kind"
        )
    return devices


def _predicted(
    reader: Reader, devices: list[Hardware], batch_size: int, asked: Any
) -> Iterator[tuple[Hardware, Any]]:
    """Each device with its way and prediction, or with the reason why there is none."""
    graph, _, is_free = reader(None)
    executed = priced(graph)
    for device in devices:
        try:
            with torch.device("cpu"):
                predictor, way = chosen_way(None, device, batch_size, asked, reader.is_file)
                if way is not None:
                    way = settled_way(way, graph, device)
                    predictor = predictor.in_way(way)
                latency = predictor.predict([executed], device, batch_size if is_free else 1)
        except InputError as error:
            yield device, str(error)
            continue
        words = {} if way is None else vars(way)
        names = ("runtime", "precision", "unit")
        yield device, {"way": {name: words.get(name, "") for name in names}, "latency": latency}


def _nearness(row: dict[str, Any]) -> tuple[float, float]:
    """The probability of being fast enough, then the speed."""
    return row["probability"], -row["latency_ms"]


def _nothing(limit: float, nearest: dict[str, Any] | None, reasons: list[str]) -> str:
    """Sentence on a list without devices, with the nearest one."""
    if nearest is None:
        return reasons[0] if reasons else "no such device's latency can be predicted well enough"
    return (
        f"no such device runs the network in {limit:.4g} ms with that probability; the nearest is "
        f"{nearest['hardware']} with {nearest['latency_ms']:.4g} ms "
        f"({nearest['lower_ms']:.4g} to {nearest['upper_ms']:.4g}), {nearest['power_w']:g} W"
    )
