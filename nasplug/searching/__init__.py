"""A search from its plan to its result."""
