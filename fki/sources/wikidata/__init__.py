"""Dated facts from Wikidata, read from its query service or from a JSON dump."""
