"""my_importer.py: a JSON file of accuracies by architecture as a table of nasplug.datasets."""

import numpy as np

from nasplug.datasets.layout import foreign, numbers, read_json
from nasplug.datasets.tables import Table

COLUMNS = ("cifar10_val", "cifar10_test")


def import_mine(files):
    """Build the table of `mine.json`, which maps each architecture to its two accuracies.

    Args:
        files: Name -> path of each upstream file.

    Raises:
        InputError: If the file cannot be read or has another layout.
    """
    path = files["mine.json"]
    content = read_json(path)
    if not content:
        raise foreign(path, "it names no architecture")
    rows = [numbers(path, row, len(COLUMNS), 100.0) for row in content.values()]
    return Table(
        index=np.arange(len(rows)),
        columns=COLUMNS,
        values=np.array(rows),
        archs=tuple(content),
    )
