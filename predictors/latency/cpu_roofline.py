"""Latency of networks on CPUs that were never measured, from their data sheets.

A kernel of kind k (fused_operators.py) on n cores of a CPU, in a runtime and a precision, takes

    arithmetic = operations / (peak of a core · cores · e) · waiting
    traffic    = bytes / near + (activations beyond the cache + weights beyond it) / far
    kernel     = (arithmetic^q + traffic^q)^(1/q) + launch / clock · (1 + sync · (n − 1))

and a network the sum of its kernels and what a call costs. Efficiencies e, near bandwidth and
launch are products of factors: of the kind, the runtime, the precision, the kind of core (in order,
narrow, wide, x86), the width of its vectors, and the microarchitecture. Cores share what they
compute by Amdahl's law; the main memory gives each core a part of its bandwidth at most. All
numbers are learned together, each held near its start, which is a plain guess. What is particular
to one device in one table is a factor that is learned and not kept, since a new device has none;
what is particular to a version of a runtime is kept by the name of its source. A network that was
measured in the same runtime on several devices keeps the factor by which it differs from the form.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency.cpu_numbers import START
from nasplug.predictors.latency.cpu_terms import CpuTerms, cpu_fusion, cpu_kernels, cpu_precision
from nasplug.predictors.latency.fused_operators import kernels_of_nodes
from nasplug.predictors.latency.fused_roofline import BOUNDS, KernelTimes
from nasplug.predictors.prediction import Array
from nasplug.search_spaces import Graph

__all__ = ["CpuRoofline"]

STEPS, RATE = 160, 0.1
# Networks of one device, setting and source that are learned.
MOST = 8
# Relative errors beyond this count linearly.
HUBER = 0.2
# How strongly all numbers are held where they start, against the mean error.
PRIOR = 5e-6
# How far a microarchitecture, a source, and one device in one table are from the usual one.
CORE_SPREAD, SOURCE_SPREAD, EFFECT_SPREAD = 0.2, 0.25, 0.2
# Chips that a network's factor is held at 1 by, and the largest residual that counts.
_HELD, _LARGEST = 2.0, 0.7
# Networks that are priced at once.
_CHUNK = 1024


@dataclass(frozen=True, eq=False)
class CpuRoofline:
    """Learned numbers of the roofline of CPUs.

    Attributes:
        numbers: Name -> number, those of `START`.
        cores: Microarchitecture and one of the groups of rates -> factor on these rates.
        sources: Source, and way to run networks -> factor on the time that is measured.
        networks: Key of a network in a runtime and a precision -> factor on its time.
        devices: Runtime -> names of the devices whose measurements were learned in it.
    """

    numbers: Mapping[str, float]
    cores: Mapping[str, float] = field(default_factory=dict)
    sources: Mapping[str, float] = field(default_factory=dict)
    networks: Mapping[str, float] = field(default_factory=dict)
    devices: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        graphs: Sequence[Graph],
        columns: Sequence[Setting],
        ms: Array,
        sources: Sequence[str],
        weights: Array | None = None,
        strength: float = PRIOR,
        steps: int = STEPS,
        most: int = MOST,
    ) -> CpuRoofline:
        """Learn from measurements.

        Args:
            graphs: The network of each measurement.
            columns: The device, batch size, runtime, precision, unit and threads of each.
            ms: Latencies, all above 0.
            sources: Who measured each, with which version.
            weights: How much each counts beside those of its table; all alike if left out.
            strength: How strongly all numbers are held where they start.
            steps: Steps of the fit.
            most: Networks of one table, chosen by chance, that the numbers are learned from;
                factors of networks are learned from all.
        """
        every = (graphs, columns, np.log(ms), sources)
        tables = [
            (s, c.hardware.name, c.precision, c.unit, c.threads)
            for s, c in zip(sources, columns, strict=True)
        ]
        kept = _thinned(tables, most)
        graphs, columns, sources, tables = (
            [values[k] for k in kept] for values in (graphs, columns, sources, tables)
        )
        weights = None if weights is None else weights[kept]
        terms = _terms(graphs, columns)
        target = torch.tensor(np.log(ms[kept]), dtype=torch.float32)
        names = list(dict.fromkeys(sources))
        source = torch.tensor([names.index(name) for name in sources])
        sizes = Counter(tables)
        tables_of = Counter(key[1] for key in sizes)
        places = {key: place for place, key in enumerate(sizes)}
        table = torch.tensor([places[key] for key in tables])
        # Large tables and much measured devices say more, but not in proportion.
        own = np.ones(len(tables)) if weights is None else np.asarray(weights)
        balance = [(sizes[key] * tables_of[key[1]]) ** -0.5 for key in tables]
        weight = torch.tensor(own * balance, dtype=torch.float32)
        weight = weight / weight.sum()
        start = torch.tensor([value for value, _ in START.values()]).log()
        spread = torch.tensor([value for _, value in START.values()])
        counts = (len(START), len(terms.core_names), len(names), len(sizes))
        learned = [torch.zeros(count, requires_grad=True) for count in counts]
        logs, cores, factors, effects = learned
        optimizer = torch.optim.Adam(learned, lr=RATE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
        for _ in range(steps):
            predicted = terms.log_ms(start + logs * spread, CORE_SPREAD * cores)
            predicted = predicted + SOURCE_SPREAD * factors[source] + EFFECT_SPREAD * effects[table]
            errors = torch.nn.functional.huber_loss(
                predicted, target, reduction="none", delta=HUBER
            )
            prior = torch.stack([(values**2).sum() for values in learned]).sum()
            optimizer.zero_grad()
            ((weight * errors).sum() + strength * prior).backward()
            optimizer.step()
            schedule.step()
        factors = SOURCE_SPREAD * factors.detach()
        # Devices of one way to run networks are off by nothing in the middle.
        left = (target - predicted + EFFECT_SPREAD * effects[table]).detach().numpy()
        devices: dict[str, tuple[str, ...]] = {}
        for name, runtime in dict.fromkeys((c.hardware.name, c.runtime) for c in columns):
            devices[runtime] = (*devices.get(runtime, ()), name)
        model = cls(
            _named(START, start + logs.detach() * spread),
            _named(terms.core_names, CORE_SPREAD * cores.detach()),
            _named(names, factors)
            | _usual(factors[source].numpy(), columns, weight.numpy())
            | _middles(left, columns, tables),
            {},
            devices,
        )
        return replace(model, networks=model._learned_networks(*every))

    @torch.no_grad()
    def log_latency(
        self,
        graphs: Sequence[Graph],
        columns: Sequence[Setting],
        sources: Sequence[str] = (),
        known: bool = True,
    ) -> Array:
        """Natural logarithm of the latency of each network on its column in ms, `(networks,)`.

        Args:
            graphs: Whole networks.
            columns: The device, batch size, runtime, precision, unit and threads of each.
            sources: By whom each is measured; the usual one where there is none.
            known: Whether networks that were measured keep their own factors.
        """
        result = np.zeros(len(graphs))
        for start in range(0, len(graphs), _CHUNK):
            part = slice(start, start + _CHUNK)
            terms = _terms(graphs[part], columns[part])
            result[part] = terms.log_ms(self._logs, self._cores(terms)).double().numpy()
        result += np.log([self.sources.get(_way(column), 1.0) for column in columns])
        usual = [self.sources.get(f"usual {column.runtime}", 1.0) for column in columns]
        names = list(sources) or [""] * len(graphs)
        result += np.log([self.sources.get(name, u) for name, u in zip(names, usual, strict=True)])
        return result + self._network_logs(graphs, columns) if known else result

    @torch.no_grad()
    def parts(self, graph: Graph, column: Setting) -> KernelTimes:
        """Times of the kernels of a network on a column; together they are `log_latency`'s."""
        rows, of_nodes = kernels_of_nodes(graph, cpu_fusion(column.runtime)[0])
        terms = CpuTerms([rows], [column])
        arithmetic, traffic, launch = terms.kernel_ms(self._logs, self._cores(terms))
        q = float(self.numbers["overlap"])
        kernel = ((arithmetic**q + traffic**q) ** (1 / q) + launch).double().numpy()
        whole = float(np.exp(self.log_latency([graph], [column])[0]))
        which = torch.stack([arithmetic, traffic, launch]).argmax(0).tolist()
        # What is particular to a known network belongs to all of its kernels.
        ms = kernel * float(np.exp(self._network_logs([graph], [column])[0]))
        bounds = tuple(BOUNDS[place] for place in which)
        return KernelTimes(ms, bounds, of_nodes, whole - float(ms.sum()))

    def is_known(self, graph: Graph, column: Setting) -> bool:
        """Whether a network was measured in the runtime and precision of a column."""
        return _key(graph, column) in self.networks

    def _learned_networks(
        self,
        graphs: Sequence[Graph],
        columns: Sequence[Setting],
        log_ms: Array,
        sources: Sequence[str],
    ) -> dict[str, float]:
        """Factors of networks, from what each table says of them beside its usual error."""
        residuals = log_ms - self.log_latency(graphs, columns, sources, known=False)
        tables: dict[tuple[str, str], list[int]] = defaultdict(list)
        for k, (column, source) in enumerate(zip(columns, sources, strict=True)):
            tables[column.key, source].append(k)
        for rows in tables.values():
            residuals[rows] -= np.median(residuals[rows])
        return _network_factors(graphs, columns, residuals)

    @property
    def _logs(self) -> Tensor:
        return torch.tensor([self.numbers[name] for name in START]).log()

    def _cores(self, terms: CpuTerms) -> Tensor:
        return torch.tensor([self.cores.get(name, 1.0) for name in terms.core_names]).log()

    def _network_logs(self, graphs: Sequence[Graph], columns: Sequence[Setting]) -> Array:
        pairs = zip(graphs, columns, strict=True)
        return np.log([self.networks.get(_key(graph, column), 1.0) for graph, column in pairs])

    def tensors(self) -> dict[str, NDArray[np.float64]]:
        """Arrays to store; the rest belongs to the card (`described`)."""
        return {
            name: np.array(list(getattr(self, name).values()), dtype=np.float64)
            for name in ("numbers", "cores", "sources", "networks")
        }

    def described(self) -> dict[str, Any]:
        """Entries of the card that describe the roofline."""
        names = {name: list(getattr(self, name)) for name in ("cores", "sources", "networks")}
        return {**names, "devices": {name: list(known) for name, known in self.devices.items()}}

    @classmethod
    def restored(
        cls, tensors: Mapping[str, NDArray[Any]], described: Mapping[str, Any]
    ) -> CpuRoofline:
        """Restore the roofline that `tensors` and `described` stored."""

        def named(name: str, keys: Sequence[str]) -> dict[str, float]:
            return dict(zip(keys, map(float, tensors[name]), strict=True))

        parts = {name: named(name, described[name]) for name in ("cores", "sources", "networks")}
        devices = {str(k): tuple(map(str, v)) for k, v in described["devices"].items()}
        return cls(named("numbers", list(START)), **parts, devices=devices)


def _terms(graphs: Sequence[Graph], columns: Sequence[Setting]) -> CpuTerms:
    pairs = zip(graphs, columns, strict=True)
    return CpuTerms([cpu_kernels(graph, column.runtime) for graph, column in pairs], columns)


def _named(names: Sequence[str] | Mapping[str, Any], logs: Tensor) -> dict[str, float]:
    return dict(zip(names, logs.exp().tolist(), strict=True))


def _thinned(tables: Sequence[Any], most: int) -> NDArray[np.int64]:
    """Rows of which each table has a few at most."""
    counts: Counter[Any] = Counter()
    kept = []
    for k in np.random.default_rng(0).permutation(len(tables)).tolist():
        counts[tables[k]] += 1
        if counts[tables[k]] <= most:
            kept.append(k)
    return np.sort(np.array(kept, dtype=np.int64))


def _usual(factors: Array, columns: Sequence[Setting], weights: Array) -> dict[str, float]:
    """Factor of a source that is not known, for each runtime: the mean of those that are."""
    runtimes = np.array([column.runtime for column in columns])
    return {
        f"usual {runtime}": float(
            np.exp(np.average(factors[runtimes == runtime], weights=weights[runtimes == runtime]))
        )
        for runtime in dict.fromkeys(runtimes.tolist())
    }


def _way(column: Setting) -> str:
    threads = "one thread" if column.processor.units == 1 else "threads"
    return f"way {column.runtime} {cpu_precision(column)} {threads}"


def _middles(
    residuals: Array, columns: Sequence[Setting], tables: Sequence[Any]
) -> dict[str, float]:
    """Factor of each way to run networks: the middle of what its devices are off by."""
    of_table: dict[Any, list[int]] = defaultdict(list)
    for k, table in enumerate(tables):
        of_table[table].append(k)
    of_device: dict[tuple[str, str], list[float]] = defaultdict(list)
    for rows in of_table.values():
        column = columns[rows[0]]
        of_device[_way(column), column.hardware.name].append(float(np.median(residuals[rows])))
    of_way: dict[str, list[float]] = defaultdict(list)
    for (way, _), values in of_device.items():
        of_way[way].append(float(np.mean(values)))
    # A few devices say little of others.
    return {
        way: float(np.exp(np.median(values) * len(values) / (len(values) + _HELD)))
        for way, values in of_way.items()
    }


def _key(graph: Graph, column: Setting) -> str:
    """Key of a network in a runtime and a precision; alike networks have one key."""
    rows = np.round(cpu_kernels(graph, "tflite")).astype(np.int64)
    key = hashlib.sha256(rows.tobytes()).hexdigest()[:10]
    precision = "int8" if column.precision.startswith(("int8", "w8")) else "float"
    return f"{key} {column.runtime} {precision}"


def _network_factors(
    graphs: Sequence[Graph], columns: Sequence[Setting], residuals: Array
) -> dict[str, float]:
    """Factors of networks in runtimes and precisions, held at 1."""
    residuals = np.clip(residuals, -_LARGEST, _LARGEST)
    keys = [_key(graph, column) for graph, column in zip(graphs, columns, strict=True)]
    devices = [column.hardware.name for column in columns]
    # Each device counts once.
    counts = Counter(zip(keys, devices, strict=True))
    sums: dict[str, float] = defaultdict(float)
    weights: dict[str, float] = defaultdict(float)
    for key, device, residual in zip(keys, devices, residuals, strict=True):
        sums[key] += residual / counts[key, device]
        weights[key] += 1 / counts[key, device]
    return {key: float(np.exp(sums[key] / (weights[key] + _HELD))) for key in sums}
