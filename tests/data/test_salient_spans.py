"""Dates, numbers and names are found by their looks; what only begins a sentence is not."""

import random

import pytest

from fki.data.salient_spans import salient_spans


def found(text: str) -> list[str]:
    return [text[start:end] for start, end in salient_spans(text)]


@pytest.mark.parametrize(
    "date",
    [
        "11 November 2023",
        "November 2023",
        "March 3, 2024",
        "March 3",
        "3rd March 2024",
        "21 June",
        "Sept. 2021",
        "2023-05-01",
        "Q3 2023",
    ],
)
def test_a_date_is_one_span(date: str) -> None:
    assert found(f"it has been so since {date}, at least.") == [date]


@pytest.mark.parametrize(
    "number",
    ["15.5%", "31,000 people", "$501.858 million", "12 percent", "8 sq km", "1994", "7", "€3"],
)
def test_a_number_goes_with_its_unit(number: str) -> None:
    assert found(f"there are ({number}) in all") == [number]


@pytest.mark.parametrize("word", ["F1b", "v2", "x86", "3a"])
def test_digits_within_a_word_are_no_number(word: str) -> None:
    assert [span for span in found(f"we use {word} here") if span.isdigit()] == []


@pytest.mark.parametrize(
    "name",
    [
        "Paris",
        "Ursula von der Leyen",
        "John F. Kennedy",
        "Kristrún Frostadóttir",
        "Nadir LARBAOUI",
        "Guinea-Bissau",
        "Cote d’Ivoire",
        "University of the West Indies",
        "U.S. Senate",
        "Владимир Зеленский",
        "Nguyễn Phú Trọng",
    ],
)
def test_a_name_is_one_span_in_the_middle_of_a_sentence(name: str) -> None:
    assert found(f"we heard of {name}, as they say") == [name]


@pytest.mark.parametrize("name", ["Ada Quill", "The Hague Tribunal"])
def test_a_name_of_several_words_may_begin_a_sentence(name: str) -> None:
    assert found(f"{name} is new.") == [name.removeprefix("The ")]


@pytest.mark.parametrize(
    "text",
    [
        "Yesterday it rained.",
        "It rained. Nobody came.",
        "It rained! Then: Nobody came.",
        '"Nobody came," they say.',
        "It rained.\nNobody came.",
        "no capital here",
        "In the end I went, and I stayed.",
        "",
    ],
)
def test_a_word_that_only_begins_a_sentence_is_no_name(text: str) -> None:
    assert found(text) == []


def test_what_begins_a_sentence_is_not_part_of_the_name_behind_it() -> None:
    assert found("In Paris the Seine is high. When Ada came, The Times wrote.") == [
        "Paris",
        "Seine",
        "Ada",
        "Times",
    ]


def test_two_names_with_and_between_them_are_two() -> None:
    assert found("trade with Ireland and New Zealand") == ["Ireland", "New Zealand"]


def test_a_date_is_taken_out_of_what_looks_like_a_name() -> None:
    text = "In March 2022, President Ann Bo met 12 March members."
    assert found(text) == ["March 2022", "President Ann Bo", "12 March"]


def test_a_passage_of_the_factbook() -> None:
    text = "head of government: Prime Minister Nadir LARBAOUI (since 11 November 2023); 45% (2022)"
    assert found(text) == ["Prime Minister Nadir LARBAOUI", "11 November 2023", "45%", "2022"]


@pytest.mark.parametrize("seed", range(30))
def test_spans_are_in_order_apart_and_within_any_text(seed: int) -> None:
    rng = random.Random(seed)
    parts = [
        "Ada",
        "Bo",
        "of",
        "the",
        "The",
        "3",
        "2024",
        "March",
        "%",
        ".",
        ",",
        "-",
        "\n",
        "é",
        "(",
    ]
    text = "".join(rng.choice(parts) + rng.choice(["", " "]) for _ in range(60))
    spans = salient_spans(text)
    edges = [0, *(edge for span in spans for edge in span), len(text)]
    assert edges == sorted(edges) and all(start < end for start, end in spans)
    assert all(text[start:end].strip() == text[start:end] for start, end in spans)
