"""Write the measurements of whole networks that stand beside a prediction, from the shipped table.

    python -m experiments.measurements.network_measurements

They are the rows of nasplug/datasets/measurements.npz on networks whose graphs the package ships
and on devices of its catalogue, without those that say nothing of the device. Takes seconds; to be
run after shipped_table.py and network_graphs.py. Writes nasplug/datasets/network_measurements.npz.
"""

from __future__ import annotations

from experiments.measurements.shipped_table import TABLE
from nasplug.datasets.measurements import (
    NETWORKS_FILE,
    MeasurementTable,
    shipped_measurements,
    write_measurements,
)
from nasplug.datasets.network_graphs import shipped_network_graphs
from nasplug.measurements.nearest import rows_of_networks


def network_rows() -> MeasurementTable:
    """The rows, with the texts that they have alone."""
    table = shipped_measurements()
    rows = table.take(rows_of_networks(table, shipped_network_graphs().references))
    return rows.compact()


def main() -> None:
    write_measurements(TABLE.with_name(NETWORKS_FILE), network_rows())


if __name__ == "__main__":
    main()
