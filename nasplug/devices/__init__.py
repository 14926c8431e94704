"""Devices by name, and the profiles of a user's own.

`catalogue` reads the devices of the package, `profiles` those that the user calibrated, `hardware`
looks a name up in both. `names` knows what systems and clouds call a device, `spellings` what they
write around its name. The room knows descriptions and profiles of devices, and asks no predictor.
"""
