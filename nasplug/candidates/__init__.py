"""The architectures that a search may choose from, and what is predicted of them."""
