"""Compares runs: arms, bootstrap intervals, paired tests and breakdowns."""
