"""Measured latencies of networks and operators on many devices, from public sources.

`query` finds the measurements of a network on a device, `networks` compares the names of networks.
`importers` reads the sources' tables into the one table that `nasplug.datasets` keeps; `words`,
`device_names` and `references` bring what sources write into one vocabulary. `graphs` makes the
graphs of references, `settings` the rows that latency models learn from. The room knows data sets,
devices, search spaces and the settings of predictors, and asks no predictor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nasplug.search_spaces.lazy import loader

if TYPE_CHECKING:
    from nasplug.measurements.query import measured

__all__ = ["measured"]

__getattr__ = loader(__name__, {"measured": "nasplug.measurements.query"})
