"""A session: its parts, its checks and its messages before the start."""

import pytest
from accelerate import Accelerator

from fki.config.schema import Config
from fki.training import session


def test_emulated_bf16_is_reported(
    accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "has_native_bf16", lambda: False)
    (note,) = session.startup_notes(Config(mixed_precision="bf16"), accelerator)
    assert "slower than fp32" in note
    assert session.startup_notes(Config(), accelerator) == []
