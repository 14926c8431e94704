"""Importers: each makes compact tables of one public data set's own files.

The room knows the ground of datasets, `nasbench` and search spaces.
"""
