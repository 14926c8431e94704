"""NAS-Bench-101: cells of up to seven vertices, and the network that they build.

The room knows the ground of search_spaces alone, and no other space.
"""

from __future__ import annotations

from nasplug.search_spaces.nb101.space import NB101

__all__ = ["NB101"]
