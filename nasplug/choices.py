"""Three networks of a front that a reader may take, each with a reason.

Fastest within 1 % of the best, the knee, and the most accurate within the limits. The quality is
the accuracy or the perplexity, or else the first objective that is to be maximised, or else the
first one; the cost is the next one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nasplug.arrays import Array
from nasplug.objectives import Objective
from nasplug.pareto import contributions
from nasplug.quantities import QUALITIES, QUANTITIES, quantity_named

__all__ = ["Choice", "choices", "error_height", "telling_rows"]

# Share of the best quality that the fastest choice may give up.
CLOSE = 0.01
# First words of names in studies that say the quantity.
_WORDS = frozenset({"accuracy", "latency", "flops", "params"})
# Quality -> beginning of the title of its best value, where it is not the better direction.
_MOST = {"flops": "Most FLOPs", "params": "Most parameters"}


@dataclass(frozen=True)
class Choice:
    """One row of a front, and why a reader may take it.

    Attributes:
        title: The kind of choice, such as `"The knee"`.
        row: Position of the row in the front.
        values: Its values, with their units.
        reason: A sentence.
    """

    title: str
    row: int
    values: str
    reason: str

    def to_json(self) -> dict[str, Any]:
        """The choice as a dictionary for `json.dumps`."""
        return {"title": self.title, "row": self.row, "values": self.values, "reason": self.reason}


def choices(
    values: Array,
    objectives: Sequence[Objective],
    texts: Sequence[Sequence[str]],
    limits: Sequence[str] = (),
) -> list[Choice]:
    """Choose the fastest row within 1 % of the best, a compromise, and the most accurate row.

    With one objective, or one row, only the last one is there, and with two rows no compromise. Two
    choices may be the same row.

    With two objectives the compromise is the knee: the row farthest from the straight line between
    the two ends of the front, where the logarithm of the error stands for an accuracy in percent.
    With more objectives it is the row whose largest loss is smallest, each loss scaled to its range
    on the front. A sum of losses would count several costs of one kind, such as parameters and
    file size, several times.

    Args:
        values: Values of the objectives of the front's rows, `(n, m)`; n may be 0.
        objectives: The objectives, length m.
        texts: The values as text with their units: n rows of m.
        limits: The limits that all rows meet, such as `"latency<=5ms"`.
    """
    if not len(values):
        return []
    order = sorted(range(len(objectives)), key=lambda k: _rank(objectives[k]))
    objectives = [objectives[k] for k in order]
    texts = [[row[k] for k in order] for row in texts]
    values = np.asarray(values, np.float64)[:, order]
    losses = values * np.array([objective.sign for objective in objectives])
    best = int(np.lexsort(losses.T[::-1])[0])
    name = _in_words(objectives[0])
    within = f", within {' and '.join(limits)}" if limits else ""
    title = _title(objectives[0]) or f"Best {name}"
    reason = f"{_capital(name)} {texts[best][0]} is the best of the {len(values)} rows on the front"
    if len(values) == 1:
        reason = "This is the only row on the front" if len(objectives) > 1 else "The best value"
    chosen = [
        Choice(
            f"{title} within the limit{'s' if len(limits) > 1 else ''}" if limits else title,
            best,
            ", ".join(texts[best]),
            f"{reason}{within}.",
        )
    ]
    if len(objectives) > 1 and len(values) > 1:
        # Between two rows there is no compromise.
        middle = [_compromise(values, objectives, texts)] if len(values) > 2 else []
        chosen[:0] = [_fastest(values[:, 0], losses, objectives, texts, best), *middle]
    return chosen


def telling_rows(
    values: Array, objectives: Sequence[Objective], chosen: Collection[int], count: int
) -> list[int]:
    """Rows that stand for a front in a short table, in their order.

    The chosen rows stay. With two objectives the one of the others that alone dominates least is
    left out again and again; the ends of the front, which no other row is beyond, dominate nothing
    alone. With more objectives nearly every row dominates something alone, so that the row farthest
    from all shown ones is added again and again.

    Args:
        values: Values of the objectives of the front's rows, `(n, m)`.
        objectives: The objectives, length m.
        chosen: Rows that stay.
        count: Rows to show, at most, if not more are chosen.
    """
    rows = list(range(len(values)))
    if len(rows) <= count or len(objectives) < 2:
        return rows[: max(count, len(chosen))] if len(objectives) < 2 else rows
    losses = _scaled_losses(np.asarray(values, np.float64), objectives)
    if len(objectives) > 2:
        return _spread_rows(losses, chosen, count)
    while len(rows) > max(count, len(chosen)):
        alone = contributions(losses[rows], np.ones(2))
        free = [k for k, row in enumerate(rows) if row not in chosen]
        del rows[min(free, key=lambda k: alone[k])]
    return rows


def _spread_rows(losses: Array, chosen: Collection[int], count: int) -> list[int]:
    """The chosen rows, or the best of the first objective, and those farthest from all before."""
    rows = sorted(chosen) or [int(losses[:, 0].argmin())]
    distance = np.full(len(losses), np.inf)
    for row in rows:
        distance = np.minimum(distance, np.linalg.norm(losses - losses[row], axis=1))
    while len(rows) < count:
        rows.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(losses - losses[rows[-1]], axis=1))
        # Rows of equal values are as near as a row to itself.
        distance[rows] = -1.0
    return sorted(rows)


def error_height(accuracy: Array) -> Array:
    """Height of an accuracy in % by the logarithm of its error, which spreads out the best."""
    return -np.log(np.maximum(101.0 - np.asarray(accuracy, np.float64), 1e-3))


def _fastest(
    quality: Array,
    losses: Array,
    objectives: Sequence[Objective],
    texts: Sequence[Sequence[str]],
    best: int,
) -> Choice:
    """The row of least cost among those whose quality is within 1 % of the best."""
    is_close = np.abs(quality - quality[best]) <= CLOSE * abs(quality[best])
    close = np.flatnonzero(is_close)
    row = int(close[np.lexsort((losses[close, 0], losses[close, 1]))[0]])
    name, cost = (_in_words(objective) for objective in objectives[:2])
    title = _title(objectives[1])
    if row == best:
        reason = f"No other row within 1 % of the best {name} has a better {cost}."
    else:
        # Where only orders of magnitude are known, both may be the same.
        gain = f"with a better {cost}"
        if texts[row][1] != texts[best][1]:
            gain = f"at {cost} {texts[row][1]} instead of {texts[best][1]}"
        within = f"{_capital(name)} {texts[row][0]} is within 1 % of the best ({texts[best][0]})"
        reason = f"{within}, {gain}."
    return Choice(
        f"{title or f'Best {cost}'} within 1 % of the best", row, ", ".join(texts[row]), reason
    )


def _compromise(
    values: Array, objectives: Sequence[Objective], texts: Sequence[Sequence[str]]
) -> Choice:
    """The knee of two objectives; of more, the row whose largest scaled loss is smallest."""
    losses = _scaled_losses(values, objectives)
    name, *others = (_in_words(objective) for objective in objectives)
    if len(others) == 1:
        row = int(losses.sum(axis=1).argmin())
        reason = (
            "This row is farthest from the straight line between the ends of the front: beyond "
            f"it, a gain in {name} costs more {others[0]}."
        )
        return Choice("The knee", row, ", ".join(texts[row]), reason)
    largest = losses.max(axis=1)
    row = int(np.lexsort((losses.sum(axis=1), largest))[0])
    names = f"{', '.join([name, *others[:-1]])} and {others[-1]}"
    reason = (
        f"This row's largest loss in {names} is {100 * largest[row]:.0f} % of the range on the "
        "front; no other row has a smaller one."
    )
    return Choice("The best compromise", row, ", ".join(texts[row]), reason)


def _scaled_losses(values: Array, objectives: Sequence[Objective]) -> Array:
    """Losses from 0, the best on the front, to 1; accuracies in % by `error_height`."""
    columns = [
        error_height(column)
        if _quantity(objective) == "accuracy" and _is_percent(column)
        else column
        for objective, column in zip(objectives, values.T, strict=True)
    ]
    losses = np.stack(columns, axis=1) * np.array([objective.sign for objective in objectives])
    extent = np.ptp(losses, axis=0)
    result: Array = (losses - losses.min(axis=0)) / np.where(extent > 0, extent, 1.0)
    return result


def _is_percent(accuracy: Array) -> bool:
    """Whether accuracies are in percent, and not fractions."""
    return bool(accuracy.min() >= 0 and 1 < accuracy.max() <= 100)


def _quantity(objective: Objective) -> str:
    """First word of a name: `"latency"` for `"latency_ms"` and for `"Latency (ms)"`."""
    return re.split(r"[^a-z]", objective.name.lower(), maxsplit=1)[0]


def _title(objective: Objective) -> str | None:
    """Beginning of the title of the best value; None for an unknown quantity."""
    word = _quantity(objective)
    # A study's own names may begin with the word, as "Latency (ms)" does.
    kind = quantity_named(objective.name) or (QUANTITIES[word] if word in _WORDS else None)
    if kind is not None and kind.direction == objective.direction:
        return kind.extreme
    return _MOST.get(word) if objective.direction == "maximize" else None


def _rank(objective: Objective) -> tuple[bool, bool]:
    """Order among the objectives: a trained network's quality, one to maximise, all others."""
    kind = quantity_named(objective.name)
    is_quality = kind is not None and kind.name in QUALITIES
    return not is_quality, objective.direction != "maximize"


def _in_words(objective: Objective) -> str:
    kind = quantity_named(objective.name)
    return objective.name.replace("_", " ") if kind is None else kind.words


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
