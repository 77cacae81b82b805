"""What pages share: their script's hash, and how small texts are set."""

import re
from base64 import b64encode
from hashlib import sha256

from fki.comparison.types import Comparison
from fki.core.formatting import format_p_value
from fki.report.comparison_page import render_comparison
from fki.report.page_template import format_prompt, format_setting, typeset
from tests.support.html_page import Page


def test_only_the_scripts_hash_is_permitted(comparison: Comparison) -> None:
    text = render_comparison(comparison)
    [script] = re.findall(r"<script>(.*?)</script>", text, flags=re.S)
    digest = b64encode(sha256(script.encode()).digest()).decode()
    [policy] = [a["content"] for _, a in Page(text).tags if "Policy" in str(a.get("http-equiv"))]
    assert policy is not None and f"script-src 'sha256-{digest}'" in policy


def test_small_words_of_a_page() -> None:
    assert typeset("from -1.5 to t5-mini, 2023-01: 5 %") == (
        "from −1.5 to t5-mini, 2023-01: 5\N{NO-BREAK SPACE}%"
    )
    assert format_prompt("a <extra_id_0> b <extra_id_12>") == "a ___ b ___"
    assert [format_setting(v) for v in (None, [], True, ["q", "v"], 0, 0.001)] == [
        *("-", "-", "true", "q, v", "0", "0.001")
    ]
    assert [format_p_value(p) for p in (None, 0.0004, 0.0312, 1.0)] == [
        "-",
        "<0.001",
        "0.031",
        "1.000",
    ]
