"""Every registered method keeps every promise, on a tied and on an untied T5."""

import pytest

from fki.core.registry import method_names
from fki.testing import CHECKS, Case


@pytest.mark.parametrize("untied", [False, True], ids=["tied", "untied-gated"])
@pytest.mark.parametrize("promise", CHECKS)
@pytest.mark.parametrize("name", method_names())
def test_a_method_keeps_its_promises(name: str, promise: str, untied: bool) -> None:
    CHECKS[promise](Case(name, untied))
