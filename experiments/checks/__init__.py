"""Checks of single promises: any ONNX file, throughput, the main job."""
