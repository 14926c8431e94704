"""Importers: each reads one source's rows into the columns of the table of measurements.

An importer drops rows that are no measurement of one device, or are known to be wrong, and flags
those whose circumstances a reader must know; it counts what it drops by the reason. Sources are CSV
files of one scheme: `device`, `runtime`, `precision`, `batch`, `input_shape`, `latency_ms`, `note`.

The room knows the vocabulary of measurements and data sets.
"""
