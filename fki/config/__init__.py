"""Settings: their schema, how layers of them merge, presets, and sweeps of several runs."""
