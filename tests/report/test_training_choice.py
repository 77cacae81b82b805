"""The cells and lines of "Should I train at all?"."""

from fki.comparison.types import Cost, Option, TrainingChoice
from fki.report.training_choice import (
    CHOICE_COSTS,
    choice_costs,
    describe_choice,
    describe_missing,
    unit_costs,
)


def costs(cost: Cost | None) -> list[str]:
    return choice_costs(Option("x", "x", {}, cost))


def test_costs_are_per_period_and_per_question() -> None:
    cost = Cost(1, 10.0, 1.0, 60.0, 4e13, None, 4, 0.0123, 21.26)
    assert costs(cost) == ["15.0", "10.0", "12.3", "21.3"]


def test_the_page_and_the_terminal_have_a_column_for_each_cost() -> None:
    assert len(unit_costs(Cost(1, 1.0, 1.0, 1.0, 1.0, None))) == len(CHOICE_COSTS)


def test_an_index_costs_seconds_and_no_operations() -> None:
    cost = Cost(0, 0.0, 0.0, 0.5, 0.0, None, 4, 0.0009, 50.0)
    assert costs(cost) == ["0.125", "0", "0.9", "50.0"]


def test_what_no_run_records_is_undefined() -> None:
    assert costs(None) == ["0", "0", "-", "-"]
    assert costs(Cost(1, 5.0, 1.0, 6.0, 0.0, None, 2)) == ["3", "-", "-", "-"]


def test_lines_name_the_probe_sets_and_the_commands() -> None:
    choice = TrainingChoice(("invariant", "new"), (), {"joint": "fki train --method joint"})
    assert "invariant and new" in describe_choice(choice)
    [(sentence, command)] = describe_missing(choice)
    assert sentence.startswith("Without joint") and command == "fki train --method joint"
