"""Answers are compared as in SQuAD, with the defects of its usual copies repaired."""

import random
from collections.abc import Sequence

import pytest

from fki.metrics.answers import accuracy, exact_match, extract_answer, f1, normalize_answer


@pytest.mark.parametrize(
    ("generated", "answer"),
    [
        ("<pad> <extra_id_0> Paris <extra_id_1></s>", "Paris"),
        ("<pad><extra_id_0> Paris<extra_id_1> is big <extra_id_2></s><pad><pad>", "Paris"),
        ("<pad><extra_id_0> Paris</s>", "Paris"),
        ("<extra_id_0> Paris", "Paris"),
        ("<extra_id_0> Paris <extra_id_27>", "Paris"),
        ("The capital <extra_id_0> Paris <extra_id_1>", "Paris"),
        ("<pad> New York</s> and more", "New York"),
        ("New York <extra_id_1> and more", "New York"),
        ("<extra_id_0><extra_id_1> Paris</s>", ""),
        ("", ""),
    ],
)
def test_an_answer_is_what_stands_between_the_sentinels(generated: str, answer: str) -> None:
    assert extract_answer(generated) == answer


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


@pytest.mark.parametrize("answer", ["A", "The A", "!!!"])
@pytest.mark.parametrize("prediction", ["A", "The A", "!!!"])
def test_answers_of_which_nothing_is_left_match_themselves_only(
    prediction: str, answer: str
) -> None:
    assert normalize_answer(prediction) == normalize_answer(answer) == ""
    assert exact_match(prediction, [answer]) == f1(prediction, [answer]) == (prediction == answer)


def test_an_answer_of_which_nothing_is_left_ignores_case_space_and_sentinels() -> None:
    assert exact_match("<extra_id_0>  the  a ", ["The A"]) == 1.0
    assert exact_match("", ["The A"]) == f1("", ["The A"]) == 0.0


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
    for text in ("The <extra_id_0> Beatles!", "Straße—C++", "ﬁlm, a B", "２０２３"):
        assert normalize_answer(normalize_answer(text)) == normalize_answer(text)
