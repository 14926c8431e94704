"""Finite spaces whose members are integers, so that hundreds of thousands are handled as arrays."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from nasplug.search_spaces.cell_arrays import CellArrays
from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.space import Architecture, FiniteSpace

__all__ = ["CodedSpace"]


class CodedSpace(FiniteSpace):
    """A finite space that describes all its members by arrays, without an object of each.

    Every member has one code and an `arch_id` of its own, and its output depends on its input. A
    search scores all members of such a space by arrays, and makes an `Architecture` only of members
    that it tries or shows.

    Attributes:
        has_arrays: Whether `arrays` gives the cells of members.

    Example:
        >>> import nasplug
        >>> space = nasplug.space("nb101")
        >>> len(space.codes), space.index(space[1000])
        (423624, 1000)
        >>> space.totals(space.codes[:3])["flops"].shape
        (3,)
    """

    has_arrays: bool = False

    @property
    @abstractmethod
    def codes(self) -> NDArray[np.uint32]:
        """Code of every member in the space's order, ascending; shape `(members,)`."""

    @abstractmethod
    def __getitem__(self, index: int) -> Architecture:
        """The member at a position of the space's order."""

    @abstractmethod
    def totals(self, codes: NDArray[np.uint32] | None = None) -> dict[str, NDArray[np.float64]]:
        """FLOPs, parameters and bytes of members, by `"flops"`, `"params"` and `"bytes"`.

        Args:
            codes: Codes of members, shape `(n,)`; the codes of all members if left out.

        Returns:
            Arrays of shape `(n,)`, equal to `Graph.total` of the members' graphs.
        """

    def normal_codes(self, codes: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """Code of the member whose graph is the `normal_form` of each member's, shape `(n,)`."""
        return codes

    def arrays(self, codes: NDArray[np.uint32] | None = None) -> CellArrays:
        """Cells of members as arrays, which fast predictors read.

        Args:
            codes: Codes of members, shape `(n,)`; the codes of all members if left out.

        Raises:
            InputError: If the space gives no arrays (`has_arrays`).
        """
        raise InputError(f"space {self.name} has no cells as arrays")

    @abstractmethod
    def counts(self, codes: NDArray[np.uint32] | None = None) -> NDArray[np.uint8]:
        """Counts of small pieces in each member, one column a kind of piece, in a fixed order.

        A network's costs are nearly sums over such pieces, so fast models read these columns.

        Args:
            codes: Codes of members, shape `(n,)`; the codes of all members if left out.

        Returns:
            Counts of shape `(n, pieces)`.
        """
