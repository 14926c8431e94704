"""Trials that a search needs, beside other samplers, alone and with workers."""
