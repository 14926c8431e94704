"""Files that are whole or absent; see `nasplug.search_spaces.files`."""

from __future__ import annotations

from nasplug.search_spaces.files import atomic_path, sweep, write_bytes, write_text

__all__ = ["atomic_path", "sweep", "write_bytes", "write_text"]
