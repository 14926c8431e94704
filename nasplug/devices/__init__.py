"""Devices by name, and the profiles of a user's own.

`catalogue` reads the devices of the package, `profiles` those that the user calibrated, `hardware`
looks a name up in both. The room knows descriptions and profiles of devices, and asks no predictor.
"""
