"""timm's networks: their graphs, and latencies of families that were left out."""
