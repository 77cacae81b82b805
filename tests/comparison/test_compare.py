"""Arms and their differences: what is put together, what is refused, and what is said of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from fki.comparison.compare import compare
from fki.comparison.types import Comparison, Difference
from fki.core.errors import ConfigError, DataError
from fki.metrics.significance import holm
from fki.report.table_formats import to_csv, to_latex, to_markdown
from fki.runs.run_dir import SAMPLES, Run
from fki.testing.toy_runs import write_run

BETTER = {"invariant": (0.9, 0.95, 0.97, 1.0), "initial": (0.9, 0.95, 0.97, 1.0)}


def made(folder: Path, methods: dict[str, Any], seeds: int = 3, **config: Any) -> Path:
    """A folder of runs."""
    for method, shares in methods.items():
        for seed in range(seeds):
            write_run(folder / f"{method}-s{seed}", method, seed, shares, **config)
    return folder


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """vanilla, a twin of it under another name, and one that forgets nothing; six seeds each."""
    folder = tmp_path_factory.mktemp("runs")
    return compare([made(folder, {"vanilla": None, "lora": None, "recadam": BETTER}, 6)])


def em(run: str, probe_set: str, after: str = "2024-Q3") -> float:
    rows = [r for r in Run(Path(run)).read_lines(SAMPLES) if r["after"] == after]
    return float(np.mean([100 * r["em"] for r in rows if r["probe_set"] == probe_set]))


def test_an_arm_is_the_runs_that_differ_in_nothing_but_the_seed(both: Comparison) -> None:
    [group] = both.groups
    assert [(arm.name, arm.seeds) for arm in group.arms] == [
        ("vanilla", (0, 1, 2, 3, 4, 5)),
        ("recadam", (0, 1, 2, 3, 4, 5)),
        ("lora", (0, 1, 2, 3, 4, 5)),
    ]
    assert group.title == "toy, 3 quarters, t5-toy" and group.baseline == "vanilla"
    assert (
        group.arms[0].cost.seconds == 12.5 and group.arms[0].cost.tokens_per_second == 9000 / 12.5
    )


def test_an_estimate_is_the_mean_over_seeds_and_in_its_interval(both: Comparison) -> None:
    for arm in both.groups[0].arms:
        for name in ("invariant", "updated"):
            one = arm.estimates[name]
            assert one.value == pytest.approx(np.mean([em(run, name) for run in arm.runs]))
            assert one.low is not None and one.high is not None and one.value is not None
            assert 0 <= one.low <= one.value <= one.high <= 100
        assert arm.estimates["invariant"].n == 40 and arm.estimates["updated"].n == 36
        before = arm.estimates["invariant.before"].value
        assert before == pytest.approx(np.mean([em(r, "invariant", "base") for r in arm.runs]))


def test_curves_and_matrix_are_means_over_seeds(both: Comparison) -> None:
    arm = both.groups[0].arms[0]
    rows = ("base", "2024-Q1", "2024-Q2", "2024-Q3")
    expected = [np.mean([em(run, "initial", row) for run in arm.runs]) for row in rows]
    assert arm.curves["initial"] == pytest.approx(expected)
    assert arm.curves["new"][0] is None  # nothing is taught of it yet
    assert len(arm.matrix) == 4 and all(len(row) == 3 for row in arm.matrix)


def verdicts(found: Comparison) -> dict[tuple[str, str], str]:
    return {(d.arm, d.metric): d.verdict for d in found.groups[0].differences}


def test_what_is_clearly_better_is_called_so_and_a_twin_is_not(both: Comparison) -> None:
    told = verdicts(both)
    assert told["recadam", "invariant"] == "better"
    assert set(told[key] for key in told if key[0] == "lora") == {"no evidence of a difference"}
    d = both.groups[0].difference("recadam", "invariant")
    assert d is not None and d.value is not None and d.low is not None and d.low > 20
    assert d.effect is not None and d.effect > 0.8 and d.test == "paired bootstrap"


def test_lower_is_better_where_the_metric_says_so(tmp_path: Path) -> None:
    folder = made(tmp_path, {"vanilla": BETTER, "modular": None}, seeds=8)
    told = verdicts(compare([folder], metrics=["fuar", "invariant", "learning_gain"]))
    assert told["modular", "fuar"] == told["modular", "invariant"] == "worse"


def test_p_values_are_adjusted_for_all_that_is_shown(both: Comparison) -> None:
    differences = both.groups[0].differences
    shown = [m.key for m in both.groups[0].metrics]
    usual = ["invariant", "initial", "updated", "new", "learning_gain", "forgetting", "fuar"]
    assert shown == usual and len(differences) == 2 * len(shown)
    assert [d.p_holm for d in differences] == holm([d.p for d in differences])


def test_fewer_metrics_are_a_smaller_family(both: Comparison, tmp_path: Path) -> None:
    folder = made(tmp_path, {"vanilla": None, "recadam": BETTER})
    [one] = compare([folder], metrics=["invariant"]).groups[0].differences
    assert one.p == one.p_holm and one.metric == "invariant"


def test_with_one_seed_exact_match_is_tested_by_mcnemar(tmp_path: Path) -> None:
    folder = made(tmp_path, {"vanilla": None, "recadam": BETTER}, seeds=1)
    [group] = compare([folder]).groups
    one = group.difference("recadam", "invariant")
    assert one is not None and one.test == "exact McNemar"
    answers = [
        {r["id"]: r["em"] for r in Run(Path(arm.runs[0])).read_lines(SAMPLES)
         if r["after"] == "2024-Q3" and r["probe_set"] == "invariant"}
        for arm in group.arms
    ]  # fmt: skip
    gained = sum(answers[1][id] > answers[0][id] for id in answers[0])
    lost = sum(answers[1][id] < answers[0][id] for id in answers[0])
    assert one.p == pytest.approx(stats.binomtest(gained, gained + lost).pvalue)
    assert any("one seed" in warning for warning in group.warnings)


def test_runs_that_were_asked_other_questions_are_never_paired_probe_by_probe(
    tmp_path: Path,
) -> None:
    write_run(tmp_path / "a", "vanilla")
    run = write_run(tmp_path / "b", "recadam", 0, BETTER)
    for name in ("samples.jsonl", "probes.jsonl"):
        text = (run / name).read_text(encoding="utf-8").replace("land ", "isle ")
        (run / name).write_text(text, encoding="utf-8")
    found = compare([tmp_path])
    assert len(found.groups) == 2 and any("probes: " in part for part in found.group_differences)
    [group] = compare([tmp_path], force=True).groups
    one = group.difference("recadam", "invariant")
    assert one is not None and one.test == "paired bootstrap" and one.p is not None
    assert any("different probes" in warning for warning in group.warnings)


def test_a_metric_that_is_undefined_in_a_run_has_no_value_and_says_so(tmp_path: Path) -> None:
    none = {"updated": (0.9, 0, 0, 0), "new": (0.9, 0, 0, 0)}
    write_run(tmp_path / "a", "vanilla", 0)
    write_run(tmp_path / "b", "vanilla", 1, none)
    write_run(tmp_path / "c", "lora", 0)
    write_run(tmp_path / "d", "lora", 1)
    [group] = compare([tmp_path]).groups
    one = group.arm("vanilla").estimates["fuar"]
    assert one.value is None and one.note == "undefined in 1 of 2 runs"
    off = group.difference("lora", "fuar")
    assert off is not None and off.verdict == "undefined" and off.p_holm is None


def test_a_metric_without_anything_to_lose_is_undefined_with_its_reason(tmp_path: Path) -> None:
    nothing = dict.fromkeys(("invariant", "initial"), (0.0, 0.0, 0.0, 0.0))
    for seed in (0, 1):
        write_run(tmp_path / f"v{seed}", "vanilla", seed, nothing)
        write_run(tmp_path / f"l{seed}", "lora", seed)
    comparison = compare([tmp_path])
    [group] = comparison.groups
    estimate = group.arm("vanilla").estimate("fuar")
    assert (estimate.value, estimate.low, estimate.note) == (None, None, "nothing known before")
    assert group.arm("lora").estimate("fuar").value is not None
    sentence = "FUAR of vanilla is undefined: nothing known before."
    assert sentence in group.warnings
    for text in (to_csv(comparison), to_latex(comparison), to_markdown(comparison)):
        assert sentence in text


def test_the_baseline_may_be_any_arm(tmp_path: Path) -> None:
    folder = made(tmp_path, {"vanilla": None, "lora": None}, seeds=2)
    [group] = compare([folder], baseline="lora").groups
    assert {(d.arm, d.baseline) for d in group.differences} == {("vanilla", "lora")}
    with pytest.raises(ConfigError, match=r"--baseline must be one of lora, vanilla, not 'lor'"):
        compare([folder], baseline="lor")


def test_without_vanilla_the_first_arm_is_the_baseline_and_one_arm_has_none(tmp_path: Path) -> None:
    made(tmp_path / "two", {"modular": None, "lora": None}, seeds=1)
    assert compare([tmp_path / "two"]).groups[0].baseline == "lora"
    made(tmp_path / "one", {"lora": None}, seeds=2)
    [group] = compare([tmp_path / "one"]).groups
    assert group.baseline == "" and group.differences == ()


def test_an_unknown_setting_or_metric_is_told_the_nearest(tmp_path: Path) -> None:
    folder = made(tmp_path, {"vanilla": None}, seeds=1)
    with pytest.raises(ConfigError, match=r"not 'learnin_rate'.*learning_rate"):
        compare([folder], by="learnin_rate")
    with pytest.raises(ConfigError, match=r"not 'updat'.*updated"):
        compare([folder], metrics=["updat"])


def test_the_same_runs_give_the_same_comparison_to_the_last_bit(tmp_path: Path) -> None:
    folder = made(tmp_path, {"vanilla": None, "lora": None}, seeds=2)
    assert compare([folder]) == compare([folder])


@pytest.mark.parametrize("key", ["updated.f1", "updated.accuracy", "updated.log_likelihood"])
def test_every_answer_metric_is_compared(both: Comparison, key: str) -> None:
    [group] = compare([Path(run) for arm in both.groups[0].arms for run in arm.runs],
                      metrics=[key]).groups  # fmt: skip
    field = key.partition(".")[2]
    percent = 1 if field == "log_likelihood" else 100
    for arm in group.arms:
        means = []
        for run in arm.runs:
            rows = [r for r in Run(Path(run)).read_lines(SAMPLES) if r["after"] == "2024-Q3"]
            rows = [r for r in rows if r["probe_set"] == "updated"]
            means.append(percent * np.mean([r[field] for r in rows]))
        one = arm.estimates[key]
        assert one.value == pytest.approx(np.mean(means), rel=1e-5)
        assert one.low is not None and one.high is not None and one.low < one.high
    [recadam, _] = group.differences
    assert recadam.test == "paired bootstrap" and recadam.p is not None
    assert (recadam.effect is not None) == (field == "accuracy")


def test_an_answer_metric_alone_stands_for_all_probe_sets(both: Comparison) -> None:
    runs = [Path(run) for arm in both.groups[0].arms for run in arm.runs]
    [group] = compare(runs, metrics=["perplexity", "acc", "fwt"]).groups
    sets = ("invariant", "initial", "updated", "new")
    keys = [f"{name}.perplexity" for name in sets]
    assert [metric.key for metric in group.metrics] == [*keys, "acc", "fwt"]
    for arm in group.arms:
        for key in (metric.key for metric in group.metrics):
            one = arm.estimates[key]
            assert one.value is not None and one.low is not None and one.high is not None
            assert one.low <= one.value <= one.high
        assert (arm.estimates["new.perplexity"].value or 0) > 1
    lower = {m.key: m.higher_is_better for m in group.metrics}
    assert not lower["new.perplexity"] and lower["acc"]


def test_mcnemar_is_for_answers_of_zero_and_one(tmp_path: Path) -> None:
    folder = made(tmp_path, {"vanilla": None, "recadam": BETTER}, seeds=1)
    keys = ["invariant.accuracy", "invariant.f1", "invariant.perplexity", "updated.old_em"]
    [group] = compare([folder], metrics=keys).groups
    tests = {d.metric: d.test for d in group.differences}
    assert tests.pop("invariant.accuracy") == "exact McNemar"
    assert set(tests.values()) == {"paired bootstrap"}


def test_a_metric_that_no_run_has_is_told_as_undefined(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a")
    text = (run / SAMPLES).read_text(encoding="utf-8").replace('"f1"', '"f2"')
    (run / SAMPLES).write_text(text, encoding="utf-8")
    [group] = compare([tmp_path], metrics=["updated", "updated.f1"]).groups
    assert [metric.key for metric in group.metrics] == ["updated"]
    assert any("updated.f1" in warning for warning in group.warnings)


def renamed(folder: Path, probe_set: str) -> None:
    """Two runs whose invariant set is one of the user's own."""
    for method in ("vanilla", "lora"):
        run = write_run(folder / method, method)
        for name in ("samples.jsonl", "scores.json", "probes.jsonl"):
            text = (run / name).read_text(encoding="utf-8").replace('"invariant"', f'"{probe_set}"')
            (run / name).write_text(text, encoding="utf-8")


@pytest.mark.parametrize("name", ["fuar", "updated.learned"])
def test_own_questions_that_are_called_like_a_metric_do_not_take_its_place(
    tmp_path: Path, name: str
) -> None:
    renamed(tmp_path / "taken", name)
    renamed(tmp_path / "free", "capitals")
    taken, free = (
        compare([tmp_path / kind], everything=True).groups[0] for kind in ("taken", "free")
    )
    own, other = "probes/" + name.replace(".", "_"), {m.key for m in free.metrics}
    added = {m.key for m in taken.metrics} - other
    assert added >= {own, f"{own}.before"} and all(key.startswith(own) for key in added)
    for now, then in zip(taken.arms, free.arms, strict=True):
        assert now.estimate(own) == then.estimate("capitals")
        assert now.estimate(name) == then.estimate(name)


def test_own_questions_are_compared_too(tmp_path: Path) -> None:
    renamed(tmp_path, "capitals")
    [group] = compare([tmp_path]).groups
    assert group.metrics[-1].key == "capitals" and "your own" in group.metrics[-1].meaning
    assert group.difference("lora", "capitals") is not None
    [wide] = compare([tmp_path], everything=True).groups
    assert {"capitals", "capitals.before", "kg"} <= {m.key for m in wide.metrics}
    [one] = compare([tmp_path], metrics=["capitals", "capitals"]).groups
    assert [m.key for m in one.metrics] == ["capitals"]


def test_runs_that_are_not_done_are_left_out_and_nothing_at_all_is_an_error(tmp_path: Path) -> None:
    run = write_run(tmp_path / "runs" / "a")
    text = (run / "run.json").read_text(encoding="utf-8").replace('"done"', '"running"')
    (run / "run.json").write_text(text, encoding="utf-8")
    compared = compare([tmp_path / "runs"])
    assert not compared.groups and "not done" in compared.left_out[str(run)]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="No runs found"):
        compare([tmp_path / "empty"])


def test_a_difference_without_a_value_is_undefined() -> None:
    assert Difference("em", "a", "b", None).verdict == "undefined"
