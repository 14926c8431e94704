"""A search from its arguments to its result."""
