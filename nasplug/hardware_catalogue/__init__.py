"""The devices that `nasplug.hardware` knows by name, as TOML files; no code."""
