"""Results of a search: data, JSON, tables, notes, and networks written as files.

The room knows candidates and reports, and does not run searches.
"""

from __future__ import annotations

from nasplug.results.observed_result import ObservedResult
from nasplug.results.result import SearchResult

__all__ = ["ObservedResult", "SearchResult"]
