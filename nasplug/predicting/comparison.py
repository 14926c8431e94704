"""Networks side by side on several devices, batch sizes and ways to run them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import torch

from nasplug.arguments import checked_count
from nasplug.devices.hardware import hardware as device_named
from nasplug.measurements.graphs import graph_of
from nasplug.predicting.energy import JOULES, energy_gap
from nasplug.predicting.known_networks import is_known_name, known_network
from nasplug.predicting.network_prediction import NetworkPrediction
from nasplug.predicting.own_network import FOLDING_RUNTIMES, is_onnx, read_network
from nasplug.predicting.predict import answer, chosen_way
from nasplug.predictors.features.runtimes import Way, asked_way, parse_way
from nasplug.search_spaces import Graph, InputError

if TYPE_CHECKING:
    import pandas as pd

    from nasplug.predictors.hardware import Hardware

__all__ = ["COLUMNS", "Reader", "compare"]

# Columns of a comparison; those of quantities have their units in their names.
COLUMNS = (
    *("network", "hardware", "batch_size", "runtime", "precision", "unit", "threads"),
    *("latency_ms", "lower_ms", "upper_ms", "images_per_second", "measured_ms", "source"),
    *("evidence", "mflops", "params", *JOULES, "memory_mb", "size_mb", "note"),
)


def compare(
    networks: Any,
    hardware: Any,
    *,
    example: Any = None,
    batch_size: int | Sequence[int] | None = None,
    runtime: str | Sequence[str] | None = None,
    precision: str | Sequence[str] | None = None,
    unit: str | None = None,
    threads: int | None = None,
) -> pd.DataFrame:
    """Predict networks side by side; each is read once.

    Args:
        networks: Networks as `nasplug.predict` takes them: one, a list, or a dictionary of names to
            networks.
        hardware: One device or a list of devices.
        example: Input of all PyTorch modules among them.
        batch_size: Images a forward pass, one number or a list; if left out as many as each network
            holds.
        runtime: Runtime, or a list; the usual one of each device if left out.
        precision: Precision, or a list; that of each network if left out.
        unit: Processor of phones and boards.
        threads: Threads on CPUs.

    Returns:
        A row for each network, device, batch size, runtime and precision, with `COLUMNS`. The 90 %
        interval ends at `lower_ms` and `upper_ms`; `measured_ms` is the published measurement
        of this very network in this very setting, and NaN where there is none. `memory_mb` holds
        the weights and the peak of the activations, `size_mb` the parameters alone, and `energy_j`
        the joules of a forward pass, with the ends of its interval. What cannot be predicted, such
        as a precision that a device lacks, has NaN and the reason in `note`; a number that the
        interval makes meaningless has the reason there too, and so has a missing energy beside
        energies on other devices.

    Raises:
        InputError: If a network cannot be read, a device is unknown, or nothing can be predicted.

    Example:
        >>> import nasplug
        >>> table = nasplug.compare(
        ...     ["timm:resnet18", "timm:resnet50"], ["RTX 3090", "RTX 4090"], batch_size=[1, 8]
        ... )
        >>> len(table), table["network"].nunique(), bool((table["latency_ms"] > 0).all())
        (8, 2, True)
    """
    import pandas as pd

    named = _named(networks)
    devices = [device_named(device) for device in _listed(hardware)]
    sizes = [
        None if size is None else checked_count(size, "batch size") for size in _listed(batch_size)
    ]
    words = list(product(_listed(runtime), _listed(precision)))
    ways = [asked_way(run, bits, unit, threads) for run, bits in words]
    if not named or not devices:
        raise InputError("give at least one network and one device to compare")
    rows = list(_rows(named, devices, sizes, ways, example))
    is_known = any(row["energy_j"] == row["energy_j"] for row in rows)
    of_names = {device.name: device for device in devices}
    for row in rows:
        if not row["note"] and row["energy_j"] != row["energy_j"]:
            row["note"] = energy_gap(of_names[row["hardware"]], is_known)
    if all(row["note"] and row["latency_ms"] != row["latency_ms"] for row in rows):
        raise InputError(rows[0]["note"])
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _listed(value: Any) -> list[Any]:
    """A list of what may be one value; None stands for itself."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        return [value]
    # A device cannot be a key.
    return [item for k, item in enumerate(value) if item not in value[:k]]


def _named(networks: Any) -> dict[str, Any]:
    """Networks by their names: paths, names of classes, or those that were given."""
    if isinstance(networks, dict):
        return {str(name): network for name, network in networks.items()}
    if not isinstance(networks, (list, tuple)):
        networks = [networks]
    found: dict[str, Any] = {}
    for network in networks:
        is_text = isinstance(network, (str, os.PathLike))
        name = os.fspath(network) if is_text else type(network).__name__
        if is_text and name in found:
            continue
        count = sum(other.partition(" ")[0] == name for other in found)
        found[f"{name} {count + 1}" if count else name] = network
    return found


class Reader:
    """A network that is read when it is first asked for, once for each kind of runtime.

    Attributes:
        is_file: Whether it is an ONNX file, or is run like one.
    """

    def __init__(self, network: Any, example: Any) -> None:
        self._network, self._example = network, example
        if isinstance(network, str) and is_known_name(network):
            self._network = graph_of(known_network(network).arch_id)
            self.is_file = True
        else:
            self.is_file = is_onnx(network)
        self._read: dict[bool, tuple[Graph, int, bool]] = {}

    def __call__(self, way: Way | None) -> tuple[Graph, int, bool]:
        """Read the network as it is run in a way, see `read_network`."""
        is_module = not self.is_file and not isinstance(self._network, Graph)
        folds = is_module and way is not None and way.runtime in FOLDING_RUNTIMES
        if folds not in self._read:
            example = self._example if is_module else None
            self._read[folds] = read_network(self._network, example, folds=folds)
        return self._read[folds]


def _rows(
    named: dict[str, Any],
    devices: Sequence[Hardware],
    sizes: Sequence[int | None],
    ways: Sequence[Way | None],
    example: Any,
) -> Iterator[dict[str, Any]]:
    """A row a combination, networks outermost."""
    for name, network in named.items():
        reader = Reader(network, example)
        # A network that cannot be read ends the comparison.
        params = int(reader(None)[0].total("params"))
        for device, size, way in product(devices, sizes, ways):
            try:
                with torch.device("cpu"):
                    predictor, used = chosen_way(None, device, size or 1, way, reader.is_file)
                found = answer(reader(used), reader.is_file, device, size, predictor, used)
            except InputError as error:
                yield _refused(name, device, size, way, str(error)) | {"params": params}
            else:
                yield _row(name, found)


def _row(name: str, found: NetworkPrediction) -> dict[str, Any]:
    way = parse_way(found.setting)
    energy = found.energy
    joules = [float("nan")] * len(JOULES)
    if energy is not None:
        joules = [float(end[0, 0]) for end in (energy.mean, energy.lower, energy.upper)]
    same = [near for near in found.measurements if near.same_network and near.same_setting]
    return {
        "network": name,
        "hardware": found.hardware.name,
        "batch_size": found.batch_size,
        "runtime": way.runtime or "eager",
        "precision": way.precision or "fp32",
        "unit": way.unit,
        "threads": way.threads,
        "latency_ms": found.mean,
        "lower_ms": found.lower,
        "upper_ms": found.upper,
        "images_per_second": found.images_per_second,
        "measured_ms": same[0].latency_ms if same else float("nan"),
        "source": same[0].source if same else "",
        "evidence": found.evidence,
        **dict(zip(JOULES, joules, strict=True)),
        "mflops": found.graph.total("flops") / 1e6,
        "params": int(found.graph.total("params")),
        "memory_mb": found.memory.total,
        "size_mb": found.size_mb,
        "note": "" if found.usable else found.notes()[-1],
    }


def _refused(
    name: str, device: Hardware, size: int | None, way: Way | None, reason: str
) -> dict[str, Any]:
    asked = way or Way()
    empty: dict[str, Any] = dict.fromkeys(COLUMNS, "")
    numbers = [c for c in COLUMNS if c.endswith(("_ms", "_mb", "_second", "_j")) or c == "mflops"]
    return (
        empty
        | dict.fromkeys(numbers, float("nan"))
        | {
            "network": name,
            "hardware": device.name,
            "batch_size": size or 0,
            "runtime": asked.runtime,
            "precision": asked.precision,
            "unit": asked.unit,
            "threads": asked.threads,
            "note": reason,
        }
    )
