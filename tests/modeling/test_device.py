"""The device of a run, through Accelerate."""

from fki.modeling import device


def test_a_process_may_train_runs_of_different_precision() -> None:
    assert device.make_accelerator("bf16").mixed_precision == "bf16"
    assert device.make_accelerator("no").mixed_precision == "no"
