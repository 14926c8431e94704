"""Predictions for architectures and whole networks, by the trained predictors of the package.

`zoo` finds a predictor by name, `architecture_predictor` lets it read architectures of a space,
`predict` reads one network, `few_shot` a device of which a few measurements are known. The room
knows predictors, spaces and devices, and no study.
"""
