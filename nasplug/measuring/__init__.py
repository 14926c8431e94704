"""Timing of networks on the machine at hand: runtimes, stopwatches, and files of the results."""

from nasplug.measuring.campaign import MeasurementSet, measure

__all__ = ["MeasurementSet", "measure"]
