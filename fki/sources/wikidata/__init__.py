"""Dated facts out of Wikidata, from its query service or from a dump."""
