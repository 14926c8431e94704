"""Studies that several processes share: where they are kept, and how their trials are run."""
