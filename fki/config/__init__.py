"""Settings: their schema, how layers of them are merged and checked, presets, and sweeps of several runs."""
