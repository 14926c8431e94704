"""Devices by name: the catalogue, and the user's own device profiles."""
