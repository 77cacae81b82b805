"""Replay: the older examples that train beside the new ones."""
