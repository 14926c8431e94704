"""NAS-Bench-101: the official file read without TensorFlow, as a table and as nasbench's API.

The room knows the ground of datasets and the space, and never runs what it reads.
"""

from __future__ import annotations

from nasplug.datasets.nasbench.api import ModelSpec, NASBench, OutOfDomainError, UnknownCellError

__all__ = ["ModelSpec", "NASBench", "OutOfDomainError", "UnknownCellError"]
