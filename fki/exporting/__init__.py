"""Exports a run to other formats, checks the result and writes its model card."""
