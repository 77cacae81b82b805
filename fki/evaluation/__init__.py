"""Evaluation: which probes are scored when, their predictions, and the summary of scores."""
