"""Search spaces from functions that build a model from a trial's suggestions.

The room runs a user's function with trials of its own, reads the networks that it returns, and
keeps their graphs. It knows importers and the protocol of spaces, and no study.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nasplug.search_spaces.lazy import loader

if TYPE_CHECKING:
    from nasplug.search_spaces.builders.loading import load_builder
    from nasplug.search_spaces.builders.space import BuilderSpace, space_of

__all__ = ["BuilderSpace", "load_builder", "space_of"]

__getattr__ = loader(
    __name__,
    {
        "BuilderSpace": "nasplug.search_spaces.builders.space",
        "load_builder": "nasplug.search_spaces.builders.loading",
        "space_of": "nasplug.search_spaces.builders.space",
    },
)
