"""Every registered method keeps every promise, on a tied and on an untied T5, and on decoders."""

import pytest

from fki.core.errors import ConfigError
from fki.core.registry import encoder_methods, method_names
from fki.testing import CHECKS, DECODERS, Case

CAUSAL_METHODS = [name for name in method_names() if name not in encoder_methods()]
ADDING = ("kadapter_2", "lora", "vanilla")  # these depend on the modules of a family
CASES = [(n, f) for n in CAUSAL_METHODS for f in (DECODERS if n in ADDING else ("llama",))]


@pytest.mark.parametrize("untied", [False, True], ids=["tied", "untied-gated"])
@pytest.mark.parametrize("promise", CHECKS)
@pytest.mark.parametrize("name", method_names())
def test_a_method_keeps_its_promises(name: str, promise: str, untied: bool) -> None:
    CHECKS[promise](Case(name, untied))


@pytest.mark.parametrize("promise", CHECKS)
@pytest.mark.parametrize(("name", "family"), CASES)
def test_a_method_keeps_its_promises_with_a_decoder(name: str, promise: str, family: str) -> None:
    CHECKS[promise](Case(name, family=family))


@pytest.mark.parametrize("name", encoder_methods())
def test_a_method_that_needs_an_encoder_refuses_a_decoder(name: str) -> None:
    with pytest.raises(ConfigError, match=f"method = '{name}' .* is a decoder"):
        Case(name, family="llama").prepare(0)
