"""Reads the JSON configs of the original research code."""
