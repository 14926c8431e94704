"""Scripts behind every figure of the documentation, by theme; each writes JSON into `results`.

Run them from the checkout, as `python -m experiments.<theme>.<script>`; `make_docs` writes the
tables of the pages from the results. `common` has the data and the provenance, `campaign` what a
run needs that can be stopped and taken up again, `shared_campaign` what runs need that several
processes share, `tables` the templates of the pages' tables.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["RESULTS", "ROOT"]

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "experiments" / "results"
