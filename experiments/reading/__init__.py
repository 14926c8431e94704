"""Reading of networks that others wrote: ONNX files and PyTorch models."""
