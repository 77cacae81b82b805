"""Scripts that measure fki; README.md lists them, docs/ has the results."""
