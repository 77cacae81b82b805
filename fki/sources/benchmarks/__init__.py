"""The datasets that the field has, read from their original files: one short file a family."""
