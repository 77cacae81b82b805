"""Ways to teach: one file a method, all found through `fki.core.registry`."""
