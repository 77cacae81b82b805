"""Settings: schema, presets, merging of layers, and sweeps."""
