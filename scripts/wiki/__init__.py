"""The parts of `scripts/build_wiki.py`: read, clean, derive, choose, describe."""
