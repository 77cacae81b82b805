"""A configuration's and a split's files are found as the Hub lays them out."""

import random
from pathlib import Path

import pytest

from fki.core.errors import DataError
from fki.net.hub import card_license, read_card
from fki.sources.tables.hub_layout import select_files

SHARDS = ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"]
CONFIGS = {
    "configs": [
        {"config_name": "a", "data_files": [{"split": "train", "path": "a/tr*.csv"}]},
        {"config_name": "b", "data_files": {"train": "b/**", "dev": ["c/x.csv", "c/y.csv"]}},
    ]
}
FILES = ["a/tr.csv", "b/deep/1.csv", "b/2.csv", "c/x.csv", "c/y.csv", "README.md", "code.py"]


@pytest.mark.parametrize(
    ("names", "config", "split", "chosen"),
    [
        ([*SHARDS, "README.md", ".hidden/x.csv"], "", "", SHARDS),
        ([*SHARDS, "data/test-00000-of-00001.parquet"], "", "", SHARDS),
        ([*SHARDS, "data/own-00000-of-00001.parquet"], "", "own",
         ["data/own-00000-of-00001.parquet"]),
        (["train.jsonl", "dev.jsonl"], "", "validation", ["dev.jsonl"]),
        (["train.jsonl", "dev.jsonl"], "", "train+validation", ["train.jsonl", "dev.jsonl"]),
        (["validation/a.csv", "train/a.csv"], "", "", ["train/a.csv"]),
        (["temp.train.jsonl", "temp.dev.jsonl", "temp.test.jsonl"], "", "", ["temp.train.jsonl"]),
        (["t.train.jsonl", "t.dev.jsonl", "t.test.jsonl"], "", "test", ["t.test.jsonl"]),
        (["Train.csv", "Test.csv"], "", "", ["Train.csv"]),
        (["own/data-00000-of-00001.arrow", "train/data-00000-of-00001.arrow"], "", "own",
         ["own/data-00000-of-00001.arrow"]),
        (["en/a.train.csv", "en/a.test.csv", "de/a.csv"], "en", "", ["en/a.train.csv"]),
        (["en/data/own-00000-of-00001.csv", "de/x.csv"], "en", "own",
         ["en/data/own-00000-of-00001.csv"]),
        (["facts.csv.gz", "dataset_info.json"], "", "", ["facts.csv.gz"]),
        (["facts.csv", "notes.xlsx"], "", "", ["facts.csv"]),
        (["README.md", "facts.xlsx"], "", "", ["facts.xlsx"]),
        (["en/train.csv", "de/train.csv"], "de", "", ["de/train.csv"]),
        (["en/train/0000.parquet", "de/tiny/0000.parquet"], "de", "tiny", ["de/tiny/0000.parquet"]),
        (["default/partial-train/0000.parquet"], "", "", ["default/partial-train/0000.parquet"]),
    ],
)  # fmt: skip
def test_names_tell_configurations_and_splits(
    names: list[str], config: str, split: str, chosen: list[str]
) -> None:
    assert select_files(names, {}, config, split).names == chosen


@pytest.mark.parametrize(
    ("config", "split", "chosen"),
    [
        ("a", "", ["a/tr.csv"]),
        ("b", "", ["b/deep/1.csv", "b/2.csv"]),
        ("b", "dev", ["c/x.csv", "c/y.csv"]),
    ],
)
def test_a_card_tells_them_first(config: str, split: str, chosen: list[str]) -> None:
    assert select_files(FILES, CONFIGS, config, split).names == chosen


@pytest.mark.parametrize(
    ("head", "names", "config"),
    [
        ("", ["train.csv", "dev.csv", "eval.csv"], ""),
        ("", ["my-train.csv", "my_test.csv", "validation_2.csv"], ""),
        ("", ["data/train-00000-of-00001.csv", "data/own-00000-of-00001.csv"], ""),
        ("", ["train/a.csv", "train/b.csv", "test/a.csv"], ""),
        ("", ["facts.csv", "more.csv"], ""),
        ("configs:\n- config_name: a\n  data_files: a/*.csv\n- config_name: b\n  data_files:\n"
         "  - split: train\n    path: [b/x.csv, b/sub/**]\n  - split: test\n    path: b/t*.csv\n",
         ["a/1.csv", "a/2.csv", "a/deep/3.csv", "b/x.csv", "b/sub/y.csv", "b/t.csv"], "a"),
        ("configs:\n- config_name: b\n  data_files:\n"
         "  - split: train\n    path: [b/x.csv, b/sub/**]\n  - split: test\n    path: b/t*.csv\n",
         ["b/x.csv", "b/sub/y.csv", "b/sub/deep/z.csv", "b/t.csv", "c/t.csv"], "b"),
        ("configs:\n- config_name: c\n  data_dir: c\n",
         ["c/train.csv", "c/test.csv", "d/train.csv"], "c"),
    ],
)  # fmt: skip
def test_datasets_chooses_the_same_files(
    tmp_path: Path, head: str, names: list[str], config: str
) -> None:
    from datasets import load_dataset_builder

    for name in names:
        (tmp_path / "d" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "d" / name).write_text("x\n1\n", encoding="utf-8")
    (tmp_path / "d" / "README.md").write_text(f"---\n{head}---\n", encoding="utf-8")
    cache = str(tmp_path / "cache")
    builder = load_dataset_builder(str(tmp_path / "d"), config or None, cache_dir=cache)
    card = read_card(tmp_path / "d" / "README.md")
    for split, files in builder.config.data_files.items():
        theirs = {Path(file).relative_to(tmp_path / "d").as_posix() for file in files}
        assert set(select_files(names, card, config, str(split)).names) == theirs


WORDS = ["train", "training", "dev", "val", "valid", "validation", "test", "testing", "eval",
         "evaluation", "temp", "contest", "trained", "data", "own", "x"]  # fmt: skip
SIGNS = ["", ".", "-", "_", " ", "7", "--", "+"]


def random_layout(seed: int) -> list[str]:
    """Names of tables whose words, separators and folders are random."""
    chance = random.Random(seed)

    def word() -> str:
        parts = chance.choices(WORDS, k=chance.choice([1, 1, 2, 3]))
        return chance.choice(SIGNS).join(parts) + chance.choice(["", "", "", "_1", "2"])

    def name() -> str:
        shard = "-00000-of-00001" if chance.random() < 0.15 else ""
        folders = [word() for _ in range(chance.choice([0, 0, 1, 1, 2]))]
        return "/".join([*folders, f"{word()}{shard}.csv"])

    folder = chance.choice(["", "", "data/", "train/"])
    return sorted({folder + name() for _ in range(chance.randint(1, 5))})


@pytest.mark.parametrize("start", range(0, 400, 100))
def test_datasets_groups_any_layout_in_the_same_splits(tmp_path: Path, start: int) -> None:
    from datasets.data_files import DataFilesDict, get_data_patterns

    for seed in range(start, start + 100):
        root, names = tmp_path / str(seed), random_layout(seed)
        for name in names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).touch()
        try:
            found = DataFilesDict.from_patterns(get_data_patterns(str(root)), str(root))
        except ValueError:  # a shard's split must be a word there: data/train-test-00000-...
            continue
        theirs = {
            str(split): {Path(f).relative_to(root).as_posix() for f in files}
            for split, files in found.items()
        }
        card = {"configs": [{"config_name": "all", "data_dir": "."}]}
        ours = {s: {*select_files(names, card, "", s).names} for s in theirs}
        assert ours == theirs, names


def test_the_card_s_default_is_taken_and_said() -> None:
    configs = [CONFIGS["configs"][0], CONFIGS["configs"][1] | {"default": True}]
    found = select_files(FILES, {"configs": configs}, "", "")
    assert found.names == ["b/deep/1.csv", "b/2.csv"]
    assert found.description == "subset 'default' and split 'train'"


def test_a_folder_of_the_card_is_searched_for_splits() -> None:
    card = {"configs": [{"config_name": "x", "data_dir": "x"}]}
    assert select_files(["x/train.csv", "x/test.csv", "y/train.csv"], card, "", "test").names == [
        "x/test.csv"
    ]


@pytest.mark.parametrize(
    ("names", "card", "config", "split", "words", "hint"),
    [
        (FILES, CONFIGS, "", "", "several subsets.*a, b", "--subset a"),
        (FILES, CONFIGS, "bb", "", "'bb' not found.*Did you mean 'b'", "--subset a"),
        (FILES, CONFIGS, "b", "tran", "'tran' not found.*train, dev.*'train'", "--split train"),
        (["dev.csv", "test.csv"], {}, "", "", "several splits", "--split validation"),
        (["README.md", "x.py", "x.txt"], {}, "", "", "No Parquet", "refs/convert/parquet"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(
    names: list[str], card: dict[str, object], config: str, split: str, words: str, hint: str
) -> None:
    with pytest.raises(DataError, match=words) as caught:
        select_files(names, card, config, split)
    assert hint in str(caught.value.hint)


@pytest.mark.parametrize(
    ("head", "told"),
    [
        ("license: mit", "mit"),
        ("license:\n- mit\n- cc0-1.0", "mit, cc0-1.0"),
        ("language: en", "unknown"),
        ("license: [", "unknown"),
    ],
)
def test_a_license_is_what_the_card_says(tmp_path: Path, head: str, told: str) -> None:
    (tmp_path / "README.md").write_text(f"---\n{head}\n---\n# A card\n", encoding="utf-8")
    assert card_license(read_card(tmp_path / "README.md")) == told


def test_no_card_is_an_empty_one(tmp_path: Path) -> None:
    assert read_card(tmp_path / "README.md") == {}
