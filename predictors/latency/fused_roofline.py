"""Latency of whole networks on GPUs that were never measured, from their data sheets.

A kernel of kind k (fused_operators.py), on units u of a GPU (ordinary or tensor cores), in setting
s, takes

    arithmetic = operations / (peak_u · e_uk · boost) · watts · lanes · (1 + c_k · units / outputs
                 + r / rows)^f · (1 + d_u / depth) · (1 + w_u / width)
    traffic    = (bytes · t_sk / (1 + g · cache / (cache + bytes)) + b) / (bandwidth · m)
    kernel     = (arithmetic^q + traffic^q)^(1/q) + launch_s / clock + groups · group_s

and a network

    network    = ((Σ kernel)^r + (kernels · host_s)^r)^(1/r) + floor_s + bytes of the images / copy

Few outputs do not fill the units, short sums, narrow and low outputs do not fill a tile, and
channels that are not multiples of eight do not suit tensor cores. Convolutions of floats on
ordinary units are Winograd's, beyond the peak. A board that has few watts for its peak stays below
it, the more so the coarser the process that its chip is made in, and units with many lanes are
harder to feed; cards of players run at higher clocks than their sheets say. A host hands over one
kernel after the other, that of an older GPU more slowly, except where they are recorded as one
graph. Whoever measured differs, too (`Script`): some sum the times of kernels, some copy each batch
to the GPU. All numbers are positive and learned together, from whole networks and single operators,
each held near its start, which is a plain guess; what is particular to one GPU in one table is a
factor that is learned and not kept. The form is that of the roofline model (Williams et al., CACM
2009).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency.fused_numbers import NUMBERS, START, resolution
from nasplug.predictors.latency.fused_operators import kernels_of_nodes
from nasplug.predictors.latency.fused_terms import Script, Terms, kernels_of, soft_maximum
from nasplug.predictors.latency.gpu_ways import fusion_of, gpu_setting
from nasplug.predictors.prediction import Array
from nasplug.search_spaces import Graph

__all__ = ["FusedRoofline", "KernelTimes", "Script"]

STEPS, RATE = 200, 0.08
# Relative errors beyond this count linearly.
HUBER = 0.2
# How strongly all numbers are held where they start, against the mean error.
PRIOR = 1e-5
# How far a host and a floor are from the usual one, and one GPU in one source from its data sheet.
HOST_SPREAD, FLOOR_SPREAD, EFFECT_SPREAD = 0.5, 0.7, 0.03
# How strongly hosts and floors are held, against other numbers: none is the usual one by chance.
HOST_STRENGTH = 5.0
# Networks that are priced at once.
CHUNK = 512
BOUNDS = ("arithmetic", "traffic", "launch")


class KernelTimes(NamedTuple):
    """Times of the kernels of a network.

    Attributes:
        ms: Of each kernel, in ms, `(kernels,)`.
        bounds: What each kernel's time mostly is, of `BOUNDS`.
        of_nodes: For each node of the graph the kernel that does its work, or −1.
        rest: Of the host and the start of the network, beyond those of kernels, in ms.
    """

    ms: Array
    bounds: tuple[str, ...]
    of_nodes: NDArray[np.int64]
    rest: float


@dataclass(frozen=True, eq=False)
class FusedRoofline:
    """Learned numbers of the roofline of fused kernels.

    Attributes:
        numbers: Name -> number, those of `NUMBERS`.
        hosts: Name of a script -> factor on the time that its hosts take for a kernel, and on that
            of the start of a network.
        devices: Runtime -> names of the GPUs whose measurements were learned in it.
    """

    numbers: Mapping[str, float]
    hosts: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    devices: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        graphs: Sequence[Graph],
        columns: Sequence[Setting],
        ms: Array,
        scripts: Sequence[Script],
        weights: Array | None = None,
        *,
        strength: float = PRIOR,
        fixed: Mapping[str, float] | None = None,
    ) -> FusedRoofline:
        """Learn from measurements.

        Args:
            graphs: The network or operator of each measurement.
            columns: The GPU, batch size, runtime and precision of each.
            ms: Latencies, all above 0.
            scripts: By whom each was measured.
            weights: How much each measurement counts, `(measurements,)`; all alike without.
            strength: How strongly all numbers are held where they start.
            fixed: Numbers that are not learned.
        """
        terms = _terms(graphs, columns, scripts)
        target = torch.tensor(np.log(ms), dtype=torch.float32)
        names = list(dict.fromkeys(script.name for script in scripts))
        places = {name: place for place, name in enumerate(names)}
        source = torch.tensor([places[script.name] for script in scripts])
        pairs = list(zip(scripts, columns, strict=True))
        tables = [(s.name, c.hardware.name, c.runtime, c.precision) for s, c in pairs]
        sizes = Counter(tables)
        at = {key: place for place, key in enumerate(sizes)}
        table = torch.tensor([at[key] for key in tables])
        # A large table says more than a small one, but not in proportion.
        weight = torch.tensor([sizes[key] ** -0.5 for key in tables])
        if weights is not None:
            weight = weight * torch.from_numpy(weights)
        weight = weight / weight.sum()
        fixed = fixed or {}
        start = [fixed.get(name, value) for name, (value, _) in START.items()]
        spread = [0.0 if name in fixed else far for name, (_, far) in START.items()]
        starts, spreads = torch.tensor(start).log(), torch.tensor(spread)
        matrix = resolution()
        logs = torch.zeros(len(NUMBERS), requires_grad=True)
        hosts = torch.zeros(2, len(names), requires_grad=True)
        effects = torch.zeros(len(sizes), requires_grad=True)
        optimizer = torch.optim.Adam([logs, hosts, effects], lr=RATE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS)
        far = torch.tensor([[HOST_SPREAD], [FLOOR_SPREAD]])
        one = torch.ones(1)
        for _ in range(STEPS):
            values = torch.cat([(matrix @ (starts + logs * spreads)).exp(), one])
            factors = (far * hosts).exp()[:, source]
            predicted = terms.log_ms(values, factors[0], factors[1])
            errors = torch.nn.functional.huber_loss(
                predicted + EFFECT_SPREAD * effects[table], target, reduction="none", delta=HUBER
            )
            prior = (logs**2).sum() + HOST_STRENGTH * (hosts**2).sum() + (effects**2).sum()
            optimizer.zero_grad()
            ((weight * errors).sum() + strength * prior).backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            values = (matrix @ (starts + logs * spreads)).exp()
            factors = (far * hosts).exp().T
        devices: dict[str, tuple[str, ...]] = {}
        for name, runtime in dict.fromkeys((c.hardware.name, c.runtime) for c in columns):
            devices[runtime] = (*devices.get(runtime, ()), name)
        return cls(
            dict(zip(NUMBERS, values.tolist(), strict=True)),
            {name: (pair[0], pair[1]) for name, pair in zip(names, factors.tolist(), strict=True)},
            devices,
        )

    @torch.no_grad()
    def log_latency(
        self, graphs: Sequence[Graph], columns: Sequence[Setting], scripts: Sequence[Script] = ()
    ) -> Array:
        """Natural logarithm of the latency of each network on its column in ms, `(networks,)`.

        Args:
            graphs: Whole networks.
            columns: The GPU, batch size, runtime and precision of each.
            scripts: By whom each is measured; a user's machine, where that is not said.
        """
        whole = list(scripts) or [Script()] * len(graphs)
        result = self._log_ms(graphs, columns, whole)
        # An engine that may compute in int8 takes float16 where that is faster.
        wider = {id(c): replace(c, precision="fp16") for c in columns if c.precision == "int8"}
        rows = [k for k, column in enumerate(columns) if id(column) in wider]
        if rows:
            others = [wider[id(columns[k])] for k in rows]
            slower = self._log_ms([graphs[k] for k in rows], others, [whole[k] for k in rows])
            result[rows] = np.minimum(result[rows], slower)
        return result

    def _log_ms(
        self, graphs: Sequence[Graph], columns: Sequence[Setting], whole: Sequence[Script]
    ) -> Array:
        result = np.zeros(len(graphs))
        for start in range(0, len(graphs), CHUNK):
            part = slice(start, start + CHUNK)
            terms = _terms(graphs[part], columns[part], whole[part])
            factors = [self.hosts.get(script.name, (1.0, 1.0)) for script in whole[part]]
            hosts, floors = torch.tensor(factors, dtype=torch.float32).unbind(1)
            result[part] = terms.log_ms(self._values, hosts, floors).double().numpy()
        return result

    @torch.no_grad()
    def parts(self, graph: Graph, column: Setting) -> KernelTimes:
        """Times of the kernels of a network on a column; together they are `log_latency`'s."""
        rows, of_nodes = kernels_of_nodes(graph, fusion_of(gpu_setting(column)))
        wider = replace(column, precision="fp16")
        if column.precision == "int8" and self._faster([graph], wider, column):
            column = wider
        terms = Terms([rows], [column], [Script()], [0.0])
        arithmetic, traffic, launch = terms.kernel_ms(self._values, torch.ones(1))
        kernel = soft_maximum(arithmetic, traffic, self._number("overlap.kernel")) + launch
        kernel = kernel * terms.counted(self._values)
        whole = float(np.exp(self.log_latency([graph], [column])[0]))
        which = torch.stack([arithmetic, traffic, launch]).argmax(0).tolist()
        ms = kernel.double().numpy()
        bounds = tuple(BOUNDS[place] for place in which)
        return KernelTimes(ms, bounds, of_nodes, whole - float(ms.sum()))

    def _faster(self, graphs: Sequence[Graph], a: Setting, b: Setting) -> bool:
        usual = [Script()]
        return bool(self._log_ms(graphs, [a], usual)[0] < self._log_ms(graphs, [b], usual)[0])

    @property
    def _values(self) -> torch.Tensor:
        return torch.tensor([*(self.numbers[name] for name in NUMBERS), 1.0])

    def _number(self, name: str) -> torch.Tensor:
        return torch.tensor(self.numbers[name])

    def tensors(self) -> dict[str, NDArray[np.float64]]:
        """Array to store: the numbers in the order of `NUMBERS`."""
        return {"numbers": np.array([self.numbers[name] for name in NUMBERS])}

    def described(self) -> dict[str, Any]:
        """Entry of the card beside it."""
        return {"devices": {runtime: list(names) for runtime, names in self.devices.items()}}

    @classmethod
    def restored(
        cls, tensors: Mapping[str, NDArray[Any]], described: Mapping[str, Any]
    ) -> FusedRoofline:
        """Restore the roofline that `tensors` and `described` stored."""
        devices = {str(k): tuple(map(str, v)) for k, v in described["devices"].items()}
        numbers = dict(zip(NUMBERS, map(float, tensors["numbers"]), strict=True))
        return cls(numbers, devices=devices)


def _terms(graphs: Sequence[Graph], columns: Sequence[Setting], scripts: Sequence[Script]) -> Terms:
    triples = list(zip(graphs, columns, scripts, strict=True))
    rows = [kernels_of(graph, column, script.flash) for graph, column, script in triples]
    copied = [_input_elements(graph) if script.copies else 0.0 for graph, _, script in triples]
    return Terms(rows, columns, scripts, copied)


def _input_elements(graph: Graph) -> float:
    inputs = [k for k, op in enumerate(graph.ops) if op == "Input"]
    sides = graph.attribute("height") * graph.attribute("width")
    return float((graph.attribute("out_channels") * sides)[inputs].sum())
