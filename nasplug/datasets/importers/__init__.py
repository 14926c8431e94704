"""Importers: each makes a compact table of one public data set's own files.

The room knows the ground of datasets, `nasbench` and search spaces.
"""
