"""Importers: each makes a compact table of one public data set's own files.

An importer takes the path of each file by its name and returns a `Table`, to which `store` adds the
SHA-256 of the files. It raises `InputError` if a file cannot be read or is not laid out as it was
published.

The room knows the ground of datasets, `nasbench` and search spaces.
"""
