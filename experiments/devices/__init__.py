"""Devices that are known by a few measurements."""
