"""Predictors of accuracy beside floors and published networks: ranks, intervals, transfer."""
