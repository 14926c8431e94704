"""Spaces of a user's own: how fast they are scored, and whether limits hold on this machine."""
