"""Types, errors and helpers that all packages share, without torch."""
