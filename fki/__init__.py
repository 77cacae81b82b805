"""Fast Knowledge Injection: keep a language model's knowledge of the world current."""

__version__ = "0.1.0"
