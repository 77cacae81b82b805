"""Pure functions from answers, logits and score matrices to numbers."""
