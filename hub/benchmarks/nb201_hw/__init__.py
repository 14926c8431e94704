"""NAS-Bench-201 with the measured latency of a device, as a package of OptunaHub."""

from ._problem import Problem

__all__ = ["Problem"]
