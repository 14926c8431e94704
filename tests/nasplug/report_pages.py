"""Content of a report's page, read from its file."""

from __future__ import annotations

import json
import re
from typing import Any


def island(page: str) -> dict[str, Any]:
    """The data that a page shows."""
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    content: dict[str, Any] = json.loads(text)
    return content
