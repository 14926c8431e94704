"""Importers of public data sets: each makes compact tables of one data set's own files.

The room knows the ground of datasets, `nasbench` and search spaces.
"""
