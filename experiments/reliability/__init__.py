"""What survives: signals, kills, flipped bits, many processes, long studies."""
