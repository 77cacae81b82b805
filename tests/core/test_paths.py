"""Paths as users write them."""

from pathlib import Path

import pytest

from fki.core.paths import data_home, expand_path


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("FKI_HOME", "~/data")
    assert data_home() == tmp_path / "data"


def test_the_tilde_of_nobody_is_part_of_the_name() -> None:
    assert expand_path("~nobody-of-this-name/x") == Path("~nobody-of-this-name/x")
