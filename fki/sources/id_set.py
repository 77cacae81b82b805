"""A set of ids in one bit each, for ids that are dense in some ranges, as wiki ids are."""

CHUNK_BYTES = 1024  # a chunk covers 8,192 ids


class IdSet:
    """A set of non-negative integers; memory is one bit per id of the ranges in use."""

    def __init__(self) -> None:
        self._chunks: dict[int, bytearray] = {}

    def add(self, id: int) -> None:
        """Add an id."""
        chunk = self._chunks.get(id >> 13)
        if chunk is None:
            chunk = self._chunks[id >> 13] = bytearray(CHUNK_BYTES)
        chunk[id >> 3 & 1023] |= 1 << (id & 7)

    def __contains__(self, id: int) -> bool:
        chunk = self._chunks.get(id >> 13)
        return chunk is not None and bool(chunk[id >> 3 & 1023] >> (id & 7) & 1)
