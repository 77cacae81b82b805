"""CKL: what is read, what is listed as not read, and questions that occur twice."""

from pathlib import Path

import pytest

from fki.core.errors import ConfigError
from fki.sources.benchmarks.registry import BENCHMARKS

NEWS = "input,output,original\nx <extra_id_0>,<extra_id_0> y,Ada won the prize.\n"


def test_files_of_other_settings_are_listed_and_are_no_sources(tmp_path: Path) -> None:
    for name in ("recent_news_small1.csv", "recent_news_small2.csv"):
        (tmp_path / name).write_text(NEWS, encoding="utf-8")
    easy = "unique_id,statement,answer\n5,The storm hit <extra_id_0>.,Avalon\n"
    (tmp_path / "newLAMA_easy_small.csv").write_text(easy, encoding="utf-8")
    (tmp_path / "newLAMA_broken.csv").write_bytes(b"\xff\xfe\x00")
    draft = BENCHMARKS["ckl"].draft(tmp_path, "")
    assert [origin.name for origin in draft.origins] == ["recent_news_small1.csv"]
    assert draft.dropped == {
        "recent_news_small2.csv: a file of another setting, not read": 1,
        "newLAMA_easy_small.csv: a file of another setting, not read": 1,
    }
    assert sum("is not read" in note for note in draft.notes) == 3  # with the broken one


def test_a_question_with_two_answers_is_one_probe(tmp_path: Path) -> None:
    (tmp_path / "recent_news_full.csv").write_text(NEWS, encoding="utf-8")
    rows = "input,output\na <extra_id_0>,b\na <extra_id_0>,c\na <extra_id_0>,b\n"
    (tmp_path / "invariantLAMA.csv").write_text(rows, encoding="utf-8")
    draft = BENCHMARKS["ckl"].draft(tmp_path, "")
    assert [row["answers"] for row in draft.tables["probes/invariant"]] == [["b", "c"]]
    assert draft.dropped.total() == 2


def test_the_two_phases_are_two_periods(tmp_path: Path) -> None:
    for number in (1, 2):
        news = NEWS.replace("Ada", f"Person {number}")
        (tmp_path / f"recent_news_small{number}.csv").write_text(news, encoding="utf-8")
        easy = f"unique_id,statement,answer\n5,Storm {number} hit <extra_id_0>.,Avalon\n"
        (tmp_path / f"newLAMA_easy_small_split{number}.csv").write_text(easy, encoding="utf-8")
    draft = BENCHMARKS["ckl"].draft(tmp_path, "", form="phases")
    assert [(row["date"], row["text"]) for row in draft.tables["stream"]] == [
        ("2021-04-30", "Person 1 won the prize."),
        ("2021-05-01", "Person 2 won the prize."),
    ]
    asked = [(row["period"], row["prompt"]) for row in draft.tables["probes/new_easy"]]
    assert asked == [("2021-04-30", "Storm 1 hit ___."), ("2021-05-01", "Storm 2 hit ___.")]
    assert not draft.dropped


def test_the_small_setting_has_its_own_files(tmp_path: Path) -> None:
    for name in ("recent_news_full.csv", "recent_news_small.csv"):
        (tmp_path / name).write_text(NEWS, encoding="utf-8")
    easy = "unique_id,statement,answer\n5,The storm hit <extra_id_0>.,Avalon\n"
    (tmp_path / "newLAMA_easy_small.csv").write_text(easy, encoding="utf-8")
    draft = BENCHMARKS["ckl"].draft(tmp_path, "", form="small")
    used = [origin.name for origin in draft.origins]
    assert used == ["newLAMA_easy_small.csv", "recent_news_small.csv"]


def test_a_form_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--as must be full or small or phases.*'small'"):
        BENCHMARKS["ckl"].draft(tmp_path, "", form="smal")
    with pytest.raises(ConfigError, match="'zsre' does not read --as"):
        BENCHMARKS["zsre"].draft(tmp_path, "", form="small")
