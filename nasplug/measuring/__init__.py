"""Time networks on the machine at hand: runtimes, timing, and the files that keep the results.

`choice` and `onnx_files` open networks of a space or of the user's files, `runtimes` runs a network
by ONNX Runtime or PyTorch, `campaign` times many of them, `record` keeps every finished one, and
`this_machine` finds its processors in the catalogue. The room knows spaces that write ONNX models,
and no predictor.
"""

from nasplug.measuring.campaign import MeasurementSet, measure

__all__ = ["MeasurementSet", "measure"]
