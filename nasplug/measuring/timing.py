"""Timing of one network, and the rule for timings that cannot be trusted."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nasplug.arguments import checked_count
from nasplug.search_spaces import InputError

__all__ = [
    "DISTURBED",
    "Effort",
    "Stopwatch",
    "Timing",
    "checked_effort",
    "deviation",
    "is_disturbed",
    "time_network",
]

# Function that runs a network once and returns the milliseconds of the run.
Stopwatch = Callable[[], float]

# Deviation of the reference, as a share of its median, from which the machine counts as busy.
DISTURBED = 0.10
# Warm-up is over when the medians of two successive windows of runs differ by less than this share.
_WINDOW = 5
_STABLE = 0.03
_WARMUP_MS = (50.0, 1000.0)
# Smallest number of runs, however slow a network: a median of fewer would mean nothing.
_FEWEST_RUNS = 3


@dataclass(frozen=True)
class Effort:
    """Amount of time to spend on one network.

    Attributes:
        runs: Smallest number of timed runs; a network whose runs would take longer than
            `max_seconds` gets fewer, but at least three.
        warmup: Smallest number of untimed runs before them; they go on until the times are stable.
            A network whose runs would take longer than a second gets fewer, but at least one. 0 for
            no warm-up.
        min_seconds: Smallest sum of the timed runs: fast networks get more runs.
        max_seconds: Sum of the timed runs at which they end.
    """

    runs: int = 20
    warmup: int = 10
    min_seconds: float = 0.3
    max_seconds: float = 3.0

    def doubled(self) -> Effort:
        """The effort for a network that was disturbed: twice the runs and the seconds."""
        return replace(
            self,
            runs=2 * self.runs,
            min_seconds=2 * self.min_seconds,
            max_seconds=2 * self.max_seconds,
        )


def checked_effort(runs: int, warmup: int, min_seconds: float, max_seconds: float) -> Effort:
    """Check the numbers of an effort.

    Raises:
        InputError: If a number is not possible.
    """
    checked_count(runs, "number of runs")
    if isinstance(warmup, bool) or not isinstance(warmup, int) or warmup < 0:
        raise InputError(f"number of warm-up runs {warmup!r} is not a whole number of at least 0")
    if not 0 <= min_seconds <= max_seconds < float("inf"):
        raise InputError(
            f"{min_seconds} to {max_seconds} seconds is no valid time per network; the first "
            "number must be at least 0, and at most the second"
        )
    return Effort(runs, warmup, float(min_seconds), float(max_seconds))


@dataclass(frozen=True)
class Timing:
    """Median, percentiles, mean and standard deviation of the timed runs, in ms."""

    latency_ms: float
    p10_ms: float
    p90_ms: float
    mean_ms: float
    std_ms: float
    runs: int


def time_network(stopwatch: Stopwatch, effort: Effort) -> Timing:
    """Warm a network up and time it."""
    collects = gc.isenabled()
    gc.disable()  # a collection amid a run would count as its time
    try:
        _warm_up(stopwatch, effort)
        times: list[float] = []
        total = 0.0
        while True:
            times.append(stopwatch())
            total += times[-1]
            if len(times) >= effort.runs and total >= 1000 * effort.min_seconds:
                break
            if len(times) >= _FEWEST_RUNS and total >= 1000 * effort.max_seconds:
                break
    finally:
        if collects:
            gc.enable()
    return _summary(np.array(times))


def _warm_up(stopwatch: Stopwatch, effort: Effort) -> None:
    shortest, longest = _WARMUP_MS
    times: list[float] = []
    total = 0.0
    while effort.warmup and total < longest:
        times.append(stopwatch())
        total += times[-1]
        if len(times) < max(effort.warmup, 2 * _WINDOW) or total < shortest:
            continue
        earlier = float(np.median(times[-2 * _WINDOW : -_WINDOW]))
        if abs(float(np.median(times[-_WINDOW:])) - earlier) <= _STABLE * earlier:
            break


def _summary(times: NDArray[np.float64]) -> Timing:
    p10, median, p90 = np.percentile(times, (10, 50, 90))
    spread = float(times.std(ddof=1)) if len(times) > 1 else 0.0
    return Timing(float(median), float(p10), float(p90), float(times.mean()), spread, len(times))


def deviation(around: Sequence[float], median: float) -> float:
    """Largest deviation of the reference's times from its median, as a share; NaN if one is NaN."""
    return float(np.max(np.abs(np.array(around) - median))) / median


def is_disturbed(share: float) -> bool:
    """Whether networks timed at a `deviation` cannot be trusted; NaN cannot."""
    return not share <= DISTURBED
