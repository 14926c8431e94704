"""A calibrated device: its profile, and how well its measurements predict each other."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nasplug.arguments import OWN_NETWORKS
from nasplug.devices import profiles
from nasplug.predictors.latency.device_profile import DeviceProfile
from nasplug.text import counted, shown_path

__all__ = ["BEYOND", "MOST", "CalibratedDevice"]

# Factor between measurements and data sheet from which a note is printed.
REMARKABLE = 10.0
# Largest number of networks in a profile: more would make every use of the profile slow, and are
# enough to train a predictor.
MOST = 100
BEYOND = f"beyond the {MOST} that a profile holds"
_DIGITS = 6


@dataclass(frozen=True, eq=False)
class CalibratedDevice:
    """Result of calibrating a device.

    Attributes:
        profile: The saved device; every `hardware=` takes it.
        path: File of the profile.
        replaced: Whether an earlier profile was overwritten.
        rows: Number of rows of the table.
        left_out: Reason for leaving rows out -> number of rows.
        repeated: Number of rows of a network beyond its first; the median counts.
        mape_percent: Mean relative error of predictions for measurements left out of the fit.
        spearman: Rank correlation of these measurements with their predictions; None for fewer than
            five.
        covered: Number of these measurements inside their 90 % interval.
        folds: Way of leaving them out: `"each alone"` or `"a tenth at a time"`.
        interval_factor: A network of the space typically takes between the prediction divided and
            multiplied by this, with probability 0.9.
        data_sheet_ratio: Median of the measured latency over the data sheet's prediction.
        data_sheet_mape_percent: Mean relative error of the data sheet's predictions.
        factors: Typical factor between left-out measurements and their predictions, and between
            measurements and the data sheet's predictions; both are at least 1.

    Example:
        >>> import pandas as pd
        >>> import nasplug
        >>> space = nasplug.space("nb201")
        >>> archs = [space[k] for k in range(0, 15625, 1500)]
        >>> known = nasplug.load_predictor("nb201-latency").predict(archs, "GTX 1080 Ti").mean[:, 0]
        >>> table = pd.DataFrame({"arch": map(str, archs), "latency_ms": 1.5 * known})  # or yours
        >>> device = nasplug.calibrate("RTX 3090", table, space, name="My GPU", out="mine.json")
        >>> device.covered <= device.rows, device.interval_factor > 1
        (True, True)
    """

    profile: DeviceProfile
    path: Path
    replaced: bool
    rows: int
    left_out: Mapping[str, int]
    repeated: int
    mape_percent: float
    spearman: float | None
    covered: int
    folds: str
    interval_factor: float
    data_sheet_ratio: float
    data_sheet_mape_percent: float
    factors: tuple[float, float]

    @property
    def used(self) -> int:
        """Networks that the profile holds."""
        return len(self.profile.measured.archs)

    def to_json(self) -> dict[str, Any]:
        """The result as a dictionary for `json.dumps`."""
        return {
            "device": self.profile.name,
            "space": self.profile.space,
            "batch_size": self.profile.batch_size,
            "rows": self.rows,
            "used": self.used,
            "left_out": dict(self.left_out),
            "repeated": self.repeated,
            "left_out_of_the_fit": {
                "how": self.folds,
                "mape_percent": _rounded(self.mape_percent),
                "spearman": None if self.spearman is None else _rounded(self.spearman),
                "covered": self.covered,
                "typical_factor": _rounded(self.factors[0]),
            },
            "interval_factor": _rounded(self.interval_factor),
            "data_sheet": {
                "median_ratio": _rounded(self.data_sheet_ratio),
                "mape_percent": _rounded(self.data_sheet_mape_percent),
                "typical_factor": _rounded(self.factors[1]),
            },
            "replaced": self.replaced,
            "file": str(self.path),
            "sha256": self.profile.sha256,
        }

    def table(self) -> list[dict[str, str]]:
        """Rows of the result in words, one a field."""
        reasons = [f"{count} {reason}" for reason, count in self.left_out.items()]
        order = "" if self.spearman is None else f", Spearman {self.spearman:.3f}"
        factor = f"{self.interval_factor:.2f}"
        fields_in_words = {
            "device": f"{self.profile.name}, batch size {self.profile.batch_size}",
            "space": self.profile.space,
            "used": f"{counted(self.used, 'network')} of {counted(self.rows, 'row')}",
            "left out": ", ".join(reasons),
            "repeated": f"{counted(self.repeated, 'row')}; their median counts"
            if self.repeated
            else "",
            f"error, {self.folds} left out": f"typically a factor of {self.factors[0]:.2f}, MAPE "
            f"{self.mape_percent:.1f} %{order}; {self.covered} of {self.used} lie in their 90 % "
            "intervals",
            "90 % interval": f"typically ÷ {factor} to × {factor}",
            "data sheet alone": f"typically a factor of {self.factors[1]:.2f}, MAPE "
            f"{self.data_sheet_mape_percent:.1f} %; the measurements are "
            f"{self.data_sheet_ratio:.2f} times its predictions",
            "saved in": shown_path(self.path)
            + (", which replaces an older profile" * self.replaced),
            "use it as": self._option(),
        }
        return [
            {"field": field, "value": value} for field, value in fields_in_words.items() if value
        ]

    def _option(self) -> str:
        """Options that name the device on the command line."""
        has_default_path = self.path == profiles.path_of(self.profile.name)
        words = f"--hw {shlex.quote(self.profile.name if has_default_path else str(self.path))}"
        batch = self.profile.batch_size
        return words if batch == 1 else f"{words} --batch-size {batch}"

    def notes(self) -> list[str]:
        """Sentences on doubts about the result, and on next steps."""
        notes = []
        ratio = self.data_sheet_ratio
        if not 1 / REMARKABLE <= ratio <= REMARKABLE:
            notes.append(
                f"the measured latencies are {ratio:.2g} times what the data sheet predicts; "
                "check that the column is in ms and that the data sheet is right"
            )
        if self.used < 10:
            advice = (
                "measure ten files or more"
                if self.profile.space in OWN_NETWORKS
                else "nasplug calibrate --suggest 10 lists ten worth measuring"
            )
            notes.append(f"{self.used} networks are few; {advice}")
        if BEYOND in self.left_out:
            notes.append(
                "so many measurements are enough to train a predictor for this device: nasplug "
                "train --model latency-gp --kind latency"
            )
        return notes


def _rounded(value: float) -> float:
    return round(value, _DIGITS)
