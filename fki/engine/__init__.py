"""Runs things; prints nothing, parses nothing."""
