"""Two spellings that the tokenizer reads as one text are one text in every comparison."""

import pytest

from fki.core.normalization import distinct_texts, normalize_text, normalized_set


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Zu\u0308rbel", "Z\u00fcrbel"),
        ("New\u00a0Arven", "New Arven"),
        (" New \t Arven\n", "New Arven"),
        ("\ufb01ne", "fine"),
        ("New Arven", "New Arven"),
        ("ARVEN", "ARVEN"),
        ("", ""),
    ],
)
def test_spellings_have_one_form(text: str, expected: str) -> None:
    assert normalize_text(text) == expected


def test_the_first_spelling_stays() -> None:
    assert distinct_texts(["Zoe\u0308", "Ada", "Zo\u00eb", "ada"]) == ("Zoe\u0308", "Ada", "ada")
    assert normalized_set(["Zoe\u0308", "Zo\u00eb"]) == {"Zo\u00eb"}
