"""Latency of whole networks on NPUs, and on GPUs of phones and boards, from their data sheets.

A kernel of kind k (fused_operators.py) in precision p, on a unit of class u (GPU or NPU) that runs
it by runtime r, takes

    arithmetic = operations / (peak · e_uk) · (1 + c · units / outputs) · (1 + d / depth)
                 · (1 + w / width)
    traffic    = bytes · t_uk / (1 + g · cache / (cache + bytes)) / bandwidth
    kernel     = ((arithmetic^q + traffic^q)^(1/q) · f_up · s_r + launch_uk · l_r / speed)

and a network takes the sum of its kernels and a fixed time of the driver. Peaks of data sheets are
not reached in proportion: rates are powers below 1 of them. NPUs multiply dense matrices well, and
depthwise convolutions, softmax, normalisation and transposes poorly; a first layer with three
channels leaves most of an array idle (d). What a runtime, a source or a line of processors does
differently is a factor, shrunk towards 1, those of a runtime by kind of operator: some run
operators that the NPU lacks on the CPU. What is left of processors and networks follows a Gaussian
process (npu_residuals.py). The form is that of fused_roofline.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency.fused_operators import KERNEL_KINDS
from nasplug.predictors.latency.npu_residuals import NOISE, ResidualProcess, family
from nasplug.predictors.latency.npu_terms import START, Terms, precision_of
from nasplug.predictors.prediction import Array
from nasplug.search_spaces import Graph

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["NpuRoofline"]

STEPS, RATE = 100, 0.1
HUBER = 0.2
PRIOR = 1e-4
# Kind of what is particular -> how far its factors are from 1, in log units.
SPREADS = {
    "launch": 0.3,
    "rate": 0.3,
    "source": 0.2,
    "family": 0.6,
    "family precision": 0.3,
    "chip": 0.15,
    "precision": 0.1,
    "table": 0.1,
}
# The same of a runtime's kinds of operators.
KIND_SPREAD = 0.7
# Factors of a whole network that are kept; those of chips and tables are learned and not kept.
_KEPT = ("source", "family", "family precision")


@dataclass(frozen=True, eq=False)
class NpuRoofline:
    """Learned numbers of the roofline of kernels on NPUs and on GPUs of systems on a chip.

    Attributes:
        numbers: Name -> number, those of `START`.
        effects: Kind of what is particular -> name -> logarithm of its factor: `"launch"` and
            `"rate"` of runtimes, `"source"` of who measured, `"family"` of lines of processors,
            and `"kind "` with a runtime of kinds of operators.
        process: What is left of processors and networks.
    """

    numbers: Mapping[str, float]
    effects: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    process: ResidualProcess | None = None

    @classmethod
    def of(
        cls,
        graphs: Sequence[Graph],
        settings: Sequence[Setting],
        ms: Array,
        sources: Sequence[str],
        noise: Array | float = NOISE,
        strength: float = PRIOR,
    ) -> NpuRoofline:
        """Learn from measurements.

        Args:
            graphs: The network of each measurement.
            settings: The device, its unit, the runtime and the precision of each.
            ms: Latencies, all above 0.
            sources: Who measured each, with which version; `""` for the newest one of a runtime.
            noise: Standard deviation of each measurement's logarithm.
            strength: How strongly all numbers are held where they start.
        """
        terms = Terms(graphs, settings)
        target = torch.tensor(np.log(ms), dtype=torch.float32)
        keys = _effect_keys(settings, sources)
        tables = list(zip(*keys.values(), strict=True))
        keys["table"] = [" ".join(table) for table in tables]
        sizes = Counter(keys["table"])
        # A large table says more than a small one, but not in proportion.
        weight = torch.tensor([sizes[key] ** -0.5 for key in keys["table"]])
        weight = weight / weight.sum()
        names = {kind: sorted(set(values) - {""}) for kind, values in keys.items()}
        places = {kind: _places(values, names[kind]) for kind, values in keys.items()}
        start = torch.tensor([START[name][0] for name in START]).log()
        spread = torch.tensor([START[name][1] for name in START])
        logs = torch.zeros(len(START), requires_grad=True)
        effects = {kind: torch.zeros(len(names[kind]), requires_grad=True) for kind in names}
        kinds = torch.zeros(len(names["rate"]), len(KERNEL_KINDS), requires_grad=True)
        optimizer = torch.optim.Adam([logs, kinds, *effects.values()], lr=RATE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS)
        for _ in range(STEPS):
            numbers = dict(zip(START, (start + logs * spread).exp(), strict=True))
            factors = {
                kind: SPREADS[kind] * _with_zero(effects[kind])[places[kind]] for kind in names
            }
            factors["kind"] = KIND_SPREAD * kinds[places["rate"]]
            predicted = terms.log_ms(numbers, factors) + factors["table"]
            errors = torch.nn.functional.huber_loss(
                predicted, target, reduction="none", delta=HUBER
            )
            learned = (logs, kinds, *effects.values())
            prior = torch.stack([(values**2).sum() for values in learned]).sum()
            optimizer.zero_grad()
            ((weight * errors).sum() + strength * prior).backward()
            optimizer.step()
            schedule.step()
        values = (start + logs.detach() * spread).exp()
        kept = {
            kind: dict(zip(names[kind], (SPREADS[kind] * v.detach()).tolist(), strict=True))
            for kind, v in effects.items()
            if kind in ("launch", "rate", *_KEPT)
        }
        kept |= {
            f"kind {name}": dict(zip(KERNEL_KINDS, (KIND_SPREAD * row).tolist(), strict=True))
            for name, row in zip(names["rate"], kinds.detach(), strict=True)
        }
        plain = cls(dict(zip(START, values.tolist(), strict=True)), kept)
        left = np.log(ms) - plain.log_latency(graphs, settings, sources)
        process = ResidualProcess.of(graphs, settings, left, noise)
        return cls(plain.numbers, kept, process)

    @torch.no_grad()
    def log_latency(
        self, graphs: Sequence[Graph], settings: Sequence[Setting], sources: Sequence[str] = ()
    ) -> Array:
        """Natural logarithm of the latency of each network on its setting in ms, `(networks,)`.

        Args:
            graphs: Whole networks.
            settings: The device, its unit, the runtime and the precision of each.
            sources: Who measures each; the usual one where there is none.
        """
        terms = Terms(graphs, settings)
        logs = terms.log_ms(self._numbers(), self._factors(settings, sources)).double().numpy()
        return logs if self.process is None else logs + self.process.mean(graphs, settings)

    @torch.no_grad()
    def parts(self, graph: Graph, setting: Setting) -> list[dict[str, Any]]:
        """Kernels of a network, those that are alike together, longest first.

        Returns:
            For each its `kind`, of `KERNEL_KINDS`, `count`, `ms` of all of them, and its `bound`:
            `"compute"`, `"memory"` or `"launch"`; the driver's fixed time is of kind `"driver"`.
            They sum to the latency.
        """
        terms = Terms([graph], [setting])
        factors = self._factors([setting], [""])
        arithmetic, traffic, launch = terms.times(self._numbers(), factors)
        kernels = terms.kernels_ms(self._numbers(), factors) * terms.count
        whole = float(np.exp(self.log_latency([graph], [setting])[0]))
        fixed = terms.fixed_ms(self._numbers(), factors)
        scale = whole / float(kernels.sum() + fixed.sum())
        bounds = torch.stack([arithmetic, traffic, launch]).argmax(0).tolist()
        rows = [
            {"kind": KERNEL_KINDS[kind], "count": int(count), "ms": scale * ms, "bound": bound}
            for kind, count, ms, bound in zip(
                terms.kind.tolist(),
                terms.count.tolist(),
                kernels.tolist(),
                (("compute", "memory", "launch")[k] for k in bounds),
                strict=True,
            )
        ]
        rows.append(
            {"kind": "driver", "count": 1, "ms": scale * float(fixed[0]), "bound": "launch"}
        )
        return sorted(rows, key=lambda row: -row["ms"])

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Arrays to store; the rest belongs to the card (`described`)."""
        numbers = np.array([self.numbers[name] for name in START])
        process = {} if self.process is None else self.process.tensors()
        return {"numbers": numbers, **{f"process.{name}": a for name, a in process.items()}}

    def described(self) -> dict[str, Any]:
        """Entries of the card that describe the roofline."""
        effects = {
            kind: {name: round(value, 4) for name, value in values.items()}
            for kind, values in self.effects.items()
        }
        words = {} if self.process is None else self.process.described()
        return {"effects": effects, **words}

    @classmethod
    def restored(
        cls, tensors: Mapping[str, NDArray[Any]], described: Mapping[str, Any]
    ) -> NpuRoofline:
        """Restore the roofline that `tensors` and `described` stored."""
        numbers = dict(zip(START, map(float, tensors["numbers"]), strict=True))
        prefix = "process."
        arrays = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        process = ResidualProcess.restored(arrays, described["words"]) if arrays else None
        effects = {
            str(kind): {str(name): float(value) for name, value in values.items()}
            for kind, values in described["effects"].items()
        }
        return cls(numbers, effects, process)

    def _numbers(self) -> dict[str, Tensor]:
        return {name: torch.tensor(value) for name, value in self.numbers.items()}

    def _factors(self, settings: Sequence[Setting], sources: Sequence[str]) -> dict[str, Tensor]:
        keys = _effect_keys(settings, list(sources) or [""] * len(settings))
        factors = {
            kind: torch.tensor([self.effects.get(kind, {}).get(key, 0.0) for key in values])
            for kind, values in keys.items()
        }
        kinds = [self.effects.get(f"kind {name}", {}) for name in keys["rate"]]
        factors["kind"] = torch.tensor([[row.get(k, 0.0) for k in KERNEL_KINDS] for row in kinds])
        return factors


def _effect_keys(settings: Sequence[Setting], sources: Sequence[str]) -> dict[str, list[str]]:
    """Names of what may be particular to each measurement, by kind."""
    chips = [_processor(setting) for setting in settings]
    precisions = [precision_of(setting) for setting in settings]
    families = [family(setting) for setting in settings]
    runtimes = [f"{s.processor.kind} {s.runtime}" for s in settings]
    return {
        "launch": runtimes,
        "rate": runtimes,
        "source": [
            source and f"{source} {s.runtime} {p}"
            for source, s, p in zip(sources, settings, precisions, strict=True)
        ],
        "family": families,
        "family precision": [f"{f} {p}" for f, p in zip(families, precisions, strict=True)],
        "chip": chips,
        "precision": [f"{chip} {p}" for chip, p in zip(chips, precisions, strict=True)],
    }


def _processor(setting: Setting) -> str:
    """Name of the processor, which is in several devices."""
    part = setting.processor
    peak = max(part.peak_tflops.values())
    return f"{part.microarchitecture} {peak:.3g} {part.clock_ghz:.2g}"


def _places(values: Sequence[str], names: Sequence[str]) -> Tensor:
    places = {name: k for k, name in enumerate(names)}
    return torch.tensor([places.get(value, len(names)) for value in values])


def _with_zero(values: Tensor) -> Tensor:
    return torch.cat([values, torch.zeros(1)])
