"""The table of measurements: written, counted and shown."""
