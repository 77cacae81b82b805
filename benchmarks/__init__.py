"""Scripts that measure; what they found stands in docs/."""
