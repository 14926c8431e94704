"""NAS-Bench-101: predictors, searches, the enumeration and the official file."""
