"""How few trials a search needs, beside other samplers, alone and with workers."""
