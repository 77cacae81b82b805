"""Fixtures: a mirror of the public dumps."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.dump_mirror import Mirror, serve_mirror


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    """A running mirror with two dates of a small wiki."""
    with serve_mirror(tmp_path / "site") as running:
        yield running
