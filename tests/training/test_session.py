"""A session: its parts, its checks and its messages before the start."""

from accelerate import Accelerator

from fki.config.schema import Config
from fki.modeling.precision import Precision, PrecisionTrial
from fki.training import session


def test_slow_bf16_is_reported(accelerator: Accelerator) -> None:
    config = Config(mixed_precision="bf16")
    slow, fast = PrecisionTrial(322.0, 167.0), PrecisionTrial(100.0, 150.0)
    (note,) = session.startup_notes(config, accelerator, Precision("bf16", slow))
    assert "slower than fp32" in note and "322" in note and "167" in note
    assert session.startup_notes(config, accelerator, Precision("bf16", fast)) == []
    assert session.startup_notes(Config(), accelerator, Precision("no")) == []
