"""Trained weights, in safetensors, each with a JSON card that says what they saw; no code."""
