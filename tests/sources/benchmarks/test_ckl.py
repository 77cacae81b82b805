"""CKL: what is read, what is listed as not read, and questions that occur twice."""

from pathlib import Path

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
