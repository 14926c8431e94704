"""Predictors of latency on devices and networks that were left out, and the choices behind."""
