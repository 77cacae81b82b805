"""The precision of the forward pass follows from the setting and the device."""

import pytest
import torch

from fki.modeling import device


@pytest.mark.parametrize(
    ("setting", "has", "used"),
    [("no", True, "no"), ("bf16", False, "bf16"), ("auto", True, "bf16"), ("auto", False, "no")],
)
def test_bf16_is_used_if_it_is_set_or_if_auto_finds_it(
    setting: str, has: bool, used: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "has_native_bf16", lambda: has)
    assert device.resolve_precision(setting) == used


@pytest.mark.parametrize(("found", "has"), [({"avx512_bf16": True}, True), ({"avx2": True}, False)])
def test_the_processor_reports_whether_it_has_bf16(
    found: dict[str, bool], has: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)
    assert device.has_native_bf16() is has


def test_a_process_may_train_runs_of_different_precision() -> None:
    assert device.make_accelerator("bf16").mixed_precision == "bf16"
    assert device.make_accelerator("no").mixed_precision == "no"
