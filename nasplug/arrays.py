"""Types of arrays, for annotations."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["Array", "Indices", "Mask", "Single"]

Array = NDArray[np.float64]
Single = NDArray[np.float32]
Indices = NDArray[np.intp]
Mask = NDArray[np.bool_]
