"""Problems of settings: one error with a line for each, its requirement and its value."""

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fki.config.validation import SettingProblems, format_value
from fki.core.errors import ConfigError


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    count: Annotated[int, Field(ge=1, lt=10)] = 1
    rate: Annotated[float, Field(gt=0)] = 1.0
    name: Annotated[str, Field(min_length=1)] = "x"
    is_on: bool = True
    kind: Literal["first", "second"] = "first"
    level: Literal[0, 1, 2] = 0


def problems_of(values: dict[str, object], table: str = "") -> list[str]:
    problems = SettingProblems({})
    with pytest.raises(ValidationError) as caught:
        Model(**values)  # type: ignore[arg-type]
    problems.add_invalid(caught.value, Model, table)
    return problems.lines


@pytest.mark.parametrize(
    ("values", "facts"),
    [
        ({"count": 0}, ("count", "at least 1 and less than 10", "not 0")),
        ({"count": True}, ("count", "integer", "not true")),
        ({"rate": 0}, ("rate", "greater than 0", "not 0")),
        ({"name": ""}, ("name", "not ''")),
        ({"is_on": {"a": 1}}, ("is_on", "true or false", "not a table")),
        ({"kind": "frist"}, ("'first' or 'second'", "not 'frist'", "Did you mean 'first'?")),
        ({"level": "high"}, ("level", "0, 1 or 2", "not 'high'")),
        ({"rate": ".001"}, ("rate", "a number", "not '.001'. In TOML: 0.001.")),
        ({"rate": "5."}, ("not '5.'. In TOML: 5.0.",)),
        ({"count": "007"}, ("an integer", "not '007'. In TOML: 7.")),
        ({"is_on": "True"}, ("true or false, not 'True'. In TOML: true.",)),
        ({"cuont": 1}, ("unknown key 'cuont'", "Did you mean 'count'?")),
    ],
)
def test_a_line_has_the_requirement_and_the_value(
    values: dict[str, object], facts: tuple[str, ...]
) -> None:
    [line] = problems_of(values)
    assert all(fact in line for fact in facts), line


@pytest.mark.parametrize("values", [{"rate": "fast"}, {"rate": "nan"}, {"is_on": "yes"}])
def test_a_text_that_is_no_such_value_has_no_suggestion(values: dict[str, object]) -> None:
    assert "In TOML" not in problems_of(values)[0]


def test_a_problem_has_the_origin_of_its_key_or_table() -> None:
    problems = SettingProblems({"a": "x.toml:1", "t": "x.toml:3"})
    for key in ("a", "t.b", "other"):
        problems.add(key, "is wrong.")
        problems.add(key, "is wrong.")
    assert problems.lines == ["x.toml:1: is wrong.", "x.toml:3: is wrong.", "is wrong."]
    assert problems_of({"count": 0}, "table")[0].startswith("table.count ")


def test_all_problems_are_one_error() -> None:
    problems = SettingProblems({})
    problems.raise_if_any()
    problems.add("a", "a is wrong.")
    with pytest.raises(ConfigError, match=r"^a is wrong\.$"):
        problems.raise_if_any()
    problems.add("b", "b is wrong.")
    with pytest.raises(ConfigError, match=r"^2 settings .*\n  a is wrong\.\n  b is wrong\.$"):
        problems.raise_if_any()


def test_values_are_formatted_as_in_toml() -> None:
    assert [format_value(v) for v in (True, "x", 1.5, {})] == ["true", "'x'", "1.5", "a table"]
