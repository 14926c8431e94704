"""Priors of calibrated devices that the package ships, one a class of processors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources

from nasplug.predictors.latency.departure_process import DeparturePrior

__all__ = ["PRIORS_FILE", "departure_priors"]

PRIORS_FILE = "departure_priors.json"


@cache
def departure_priors() -> Mapping[str, DeparturePrior]:
    """Class of processors -> how its devices depart from their data sheets.

    experiments/devices/few_measurements.py learns them.
    """
    file = resources.files(__package__) / PRIORS_FILE
    tables = json.loads(file.read_text(encoding="utf-8"))["priors"]
    return {name: DeparturePrior.from_json(table) for name, table in tables.items()}
