"""Makes dataset folders: from Wikidata, Wikipedia, benchmark files and tables."""
