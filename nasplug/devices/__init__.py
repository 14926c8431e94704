"""Devices by name, and the profiles of a user's own."""
