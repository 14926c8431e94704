"""Arrays of files: numbers as planes of bytes."""

import numpy as np
import pytest

from nasplug.datasets.archives import numbers_of, planes_of


@pytest.mark.parametrize("width", [np.int32, np.int64])
def test_numbers_are_found_again_in_as_many_planes_as_they_need(width):
    bits = 8 * np.dtype(width).itemsize
    for reach in (0, 1, 100, 1 << 15, 1 << (bits - 2)):
        numbers = np.array([0, -reach, reach, reach // 3], dtype=width)
        planes = planes_of(numbers)
        assert planes.dtype == np.uint8
        np.testing.assert_array_equal(numbers_of(planes), numbers)
    assert planes_of(np.array([0, -100], dtype=width)).shape == (1, 2)
    assert planes_of(np.array([1], dtype=width), 3).shape == (3, 1)
    assert planes_of(np.zeros(0, dtype=width)).shape == (1, 0)
    with pytest.raises(ValueError, match="does not fit into 2 bytes"):
        planes_of(np.array([1 << 20], dtype=width), 2)
