"""Answers are compared as in SQuAD, with the defects of its usual copies repaired."""

import random
from collections.abc import Sequence

import pytest

from fki.metrics.answers import (
    accuracy,
    contains_answer,
    exact_match,
    f1,
    normalize_answer,
    remove_right_answers,
)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("<extra_id_0> Paris", "paris"),
        ("<extra_id_0>Paris<extra_id_1>", "paris"),
        ("<pad> Paris</s>", "paris"),
        ("Paris<extra_id_1>London", "paris london"),
        ("_X_ Paris", "paris"),
        ("_X_", ""),
    ],
)
def test_special_tokens_leave_nothing_behind(text: str, normal: str) -> None:
    assert normalize_answer(text) == normal


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2019–2020", "2019-2020"),  # en dash, Pd
        ("Saint—Denis", "Saint-Denis"),  # em dash, Pd
        ("O’Neill", "O'Neill"),  # right quote, Pf
        ("“Heroes”", '"Heroes"'),  # Pi, Pf
        ("«Le Monde»", "Le Monde"),
        ("¿Qué?", "Qué"),
    ],
)
def test_dashes_and_quotes_of_unicode_are_punctuation(one: str, other: str) -> None:
    assert exact_match(one, [other]) == 1.0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Cafe\u0301", "Caf\u00e9"),  # combining accent
        ("２０２３", "2023"),  # full width
        ("ﬁlm", "film"),  # ligature
        ("New\u00a0York", "New York"),  # no-break space
        ("STRASSE", "Straße"),  # casefold, where lower() would differ
    ],
)
def test_compatible_and_caseless_forms_are_equal(one: str, other: str) -> None:
    assert exact_match(one, [other]) == exact_match(other, [one]) == 1.0


def test_plus_is_a_symbol_and_hash_is_punctuation() -> None:
    assert normalize_answer("C++") == "c++"
    assert normalize_answer("C#") == normalize_answer("C") == "c"
    assert exact_match("C++", ["C#"]) == exact_match("C#", ["C++"]) == 0.0
    assert exact_match("C", ["C#"]) == 1.0  # the price of the rule: # is Po
    assert normalize_answer("$+<=>^`|~") == "$+<=>^`|~"  # S*, unlike string.punctuation


def test_articles_are_whole_words() -> None:
    assert normalize_answer("The  Beatles, a band") == "beatles band"
    assert normalize_answer("Theatre of another") == "theatre of another"
    assert normalize_answer("A+") == "a+"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("15", "1.5"),
        ("1.10.2", "11.0.2"),
        ("25 %", "2.5 %"),
        ("-5", "5"),
        ("-$5", "$5"),
        ("$-5", "$5"),
        (".5", "5"),
        ("2010", "20.10"),
        ("1/2", "12"),
        ("½", "12"),
        ("1½", "11/2"),
        ("10²", "102"),
        ("10⁻³", "10-3"),
        ("2010-11", "201011"),
        ("3-1", "31"),
        ("3:1", "31"),
        ("1,5", "15"),
        ("1,000,00", "100000"),
        ("0,500", "500"),
        ("1,2,3", "123"),
        ("5'10", "510"),
        ("Python 31", "Python 3.1"),
    ],
)
def test_different_numbers_are_different_answers(one: str, other: str) -> None:
    assert exact_match(one, [other]) == exact_match(other, [one]) == 0.0
    assert f1(one, [other]) == f1(other, [one]) < 1.0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1,000", "1000"),
        ("1,234,567.80", "1234567.80"),
        ("1’000", "1000"),
        ("'1,000'", "1000"),
        ("\u22125", "-5"),  # minus
        ("\u20135", "-5"),  # en dash
        ("(-5)", "-5"),
        ("½", "1/2"),
        ("1½", "1 1/2"),
        ("3.1.", "3.1"),
        ("...5", "5"),
        ("25%", "25 %"),
        ("COVID-19", "COVID19"),
        ("U.S.", "US"),
        ("St. Louis", "St Louis"),
        ("AC/DC", "ACDC"),
    ],
)
def test_spellings_of_one_answer_are_equal(one: str, other: str) -> None:
    assert exact_match(one, [other]) == exact_match(other, [one]) == 1.0
    assert f1(one, [other]) == 1.0


@pytest.mark.parametrize(("whole", "part"), [("Plan A", "Plan"), ("Serie A", "Serie")])
def test_a_final_a_is_no_article(whole: str, part: str) -> None:
    assert exact_match(part, [whole]) == exact_match(whole, [part]) == 0.0
    assert f1(part, [whole]) == pytest.approx(2 / 3)
    assert exact_match(f"The {whole.lower()}.", [whole]) == 1.0


@pytest.mark.parametrize("answer", ["<unk>", "_X_", "", " ", "<pad>"])
def test_an_empty_answer_is_never_right(answer: str) -> None:
    for prediction in ("", " ", answer):
        assert exact_match(prediction, [answer]) == f1(prediction, [answer]) == 0.0
    assert accuracy("", [answer]) == accuracy(" ", [answer]) == 0.0


def test_an_answer_of_punctuation_matches_itself_only() -> None:
    assert normalize_answer("!!!") == normalize_answer("???") == ""
    for prediction in ("!!!", "???", "", "The A"):
        assert exact_match(prediction, ["!!!"]) == f1(prediction, ["!!!"]) == (prediction == "!!!")
    assert exact_match("<extra_id_0>  !!! ", ["!!!"]) == 1.0


def test_an_old_answer_that_is_right_now_is_no_old_answer() -> None:
    assert remove_right_answers(["The Beatles", "1.5", "15"], ["beatles", "1.5"]) == ["15"]


def test_an_empty_prediction_matches_no_answer_with_words() -> None:
    assert exact_match("!!!", ["Paris"]) == f1("!!!", ["Paris"]) == 0.0


def test_any_of_the_answers_counts() -> None:
    answers = ["Manchester United", "Portugal"]
    assert exact_match("portugal.", answers) == 1.0
    assert accuracy("Portugal", answers) == 1.0
    assert f1("United", answers) == pytest.approx(2 / 3)  # precision 1, recall 1/2
    assert exact_match("United", answers) == accuracy("United", answers) == 0.0


def test_no_answers_score_nothing() -> None:
    assert exact_match("Paris", []) == accuracy("Paris", []) == f1("Paris", []) == 0.0


def test_accuracy_forgives_surrounding_space_only() -> None:
    assert accuracy(" Paris\n", ["Paris"]) == 1.0
    assert accuracy("paris", ["Paris"]) == accuracy("Paris.", ["Paris"]) == 0.0


def _overlap_by_hand(given: Sequence[str], wanted: Sequence[str]) -> float:
    """Strikes out the shared words one by one."""
    left = list(wanted)
    shared = 0
    for word in given:
        if word in left:
            left.remove(word)
            shared += 1
    if shared == 0:
        return 0.0
    precision, recall = shared / len(given), shared / len(wanted)
    return 2 * precision * recall / (precision + recall)


def test_f1_equals_a_count_by_hand_over_random_words() -> None:
    draw = random.Random(0)
    for _ in range(500):
        given = draw.choices(["red", "green", "blue"], k=draw.randint(0, 6))
        answers = [
            draw.choices(["red", "green", "blue", "grey"], k=draw.randint(1, 6))
            for _ in range(draw.randint(1, 3))
        ]
        best = max(_overlap_by_hand(given, answer) for answer in answers)
        assert f1(" ".join(given), [" ".join(answer) for answer in answers]) == pytest.approx(best)


def test_f1_counts_a_repeated_word_as_often_as_both_have_it() -> None:
    assert f1("red red red", ["red red blue"]) == pytest.approx(2 / 3)  # 2 shared of 3 and 3


def test_normalising_twice_changes_nothing() -> None:
    for text in (
        "The <extra_id_0> Beatles!",
        "Straße—C++",
        "ﬁlm, a B",
        "２０２３",
        "1½ (-.5) 1,000 A",
    ):
        assert normalize_answer(normalize_answer(text)) == normalize_answer(text)


@pytest.mark.parametrize(
    ("prediction", "answers", "expected"),
    [
        ("in Prague, they say", ["Prague"], 1.0),
        ("the dentist in Seoul", ["a dentist"], 1.0),
        ("Pragueish", ["Prague"], 0.0),  # no whole word
        ("Paris", ["Prague", "paris"], 1.0),
        ("Rome", ["New Rome"], 0.0),
        ("", ["Rome"], 0.0),
        ("!!!", ["!!!"], 1.0),
        ("oh !!! no", ["!!!"], 0.0),
    ],
)
def test_an_answer_is_contained_as_whole_words(
    prediction: str, answers: list[str], expected: float
) -> None:
    assert contains_answer(prediction, answers) == expected
