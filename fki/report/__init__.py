"""A comparison as a page, as figures and as files."""
