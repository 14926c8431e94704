"""Tests of endurance: signals, kills, flipped bits, many processes, long studies."""
