"""One short file a command: parse, call, show."""
