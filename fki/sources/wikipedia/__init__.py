"""Documents and probes from two snapshots of a Wikipedia: new text, unchanged text, and facts."""
