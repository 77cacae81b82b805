"""Metrics: pure functions of answers, logits and score matrices, and their registry."""
