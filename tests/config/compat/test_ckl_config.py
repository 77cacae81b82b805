"""Configs of the original research code: a key is read, ignored with a reason, or an error."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fki.config.compat.ckl_keys import IGNORED_KEYS, KNOWN_KEYS, METHODS, RENAMED_KEYS
from fki.config.presets import read_layers, to_preset, tomllib
from fki.config.resolve import ResolvedConfig, resolve, resolve_without_imports
from fki.config.schema import SETTINGS, TABLES
from fki.core.errors import ConfigError
from fki.core.registry import options_of
from fki.data.known_datasets import KNOWN_DATASETS

# Their file: their method, their freeze_level, and the method here with the options it implies.
SEED = {
    "vanilla": ("baseline", 0, "vanilla", {}),
    "kadapter_2": ("kadapter2", 1, "kadapter_2", {"mode": "parallel"}),
    "kadapter_3": ("kadapter3", 1, "kadapter_3", {"mode": "parallel"}),
    "lora": ("lora", 1, "lora", {"r": 4, "alpha": 16.0}),
    "mixreview": ("mixreview", 1, "mixreview", {"source": "buffer", "ratio": 0.1}),
    "modular": ("modular", 1, "modular", {"size": "same"}),
    "modular_small": ("modular_small", 1, "modular", {"size": "small"}),
    "recadam": ("recadam", 1, "recadam", {"gamma": 50.0}),
}
VERSIONS = ("day", "month", "quarter")


def seed(version: str, name: str, **changes: Any) -> dict[str, Any]:
    """A config of the day, month and quarter runs."""
    method, freeze_level, *_ = SEED[name]
    output = f"outputs/wiki/{version}/T5_base_{name}"
    return {
        "input_length": 18,
        "output_length": 18,
        "num_train_epochs": 1,
        "output_dir": output,
        "dataset": "wiki",
        "dataset_version": version,
        "train_batch_size": 8,
        "eval_batch_size": 8,
        "learning_rate": 2e-3,
        "model": "t5-base",
        "method": method,
        "freeze_level": freeze_level,
        "gradient_accumulation_steps": 3,
        "ngpu": 2,
        "use_deepspeed": False,
        "use_lr_scheduling": False,
        "check_validation": False,
        "checkpoint_path": output,
        "output_log": f"log/wiki/{version}/{name}/",
    } | changes


def ckl(**changes: Any) -> dict[str, Any]:
    """A config of CKL's training."""
    return {
        "input_length": 350,
        "output_length": 350,
        "num_train_epochs": 8,
        "output_dir": "outputs/ckl",
        "dataset": "recentnews",
        "dataset_version": "full",
        "train_batch_size": 5,
        "learning_rate": 1e-3,
        "model": "google/t5-large-ssm",
        "method": "kadapter",
        "freeze_level": 1,
        "gradient_accumulation_steps": 3,
        "ngpu": 4,
        "num_workers": 40,
        "resume_from_checkpoint": None,
        "accelerator": "ddp",
        "use_deepspeed": False,
        "CUDA_VISIBLE_DEVICES": "0,1,2,3",
        "wandb_log": True,
        "wandb_project": "a",
        "wandb_run_name": "b",
        "mode": "pretrain",
        "use_lr_scheduling": True,
        "check_validation": False,
        "checkpoint_path": "",
    } | changes


EIGHT = "kadapter_2:1 kd:0 kilm:0 lora:1 mixreview:0 modular:1 recadam:0 vanilla:0"
TRAINED = {  # of the head of CFInjectBench: a set's methods in its order, and their freeze_level
    "t5_base": f"initial:1 {EIGHT}",
    "t5_large": f"initial:1 {EIGHT}",
    "stream": EIGHT,
    "flan": "initial:0 kadapter_2:1 kilm:0 lora:1 mixreview:0 modular_small:1 vanilla:0",
    "gpt2": "initial:1 kadapter_2:1 lora:1 mixreview:0 recadam:0 vanilla:0",
    "llama": "initial:1 kadapter_2:1 lora:1 mixreview:0 recadam:0 vanilla:0",
}
MODELS = {  # and learning rate, eval_batch_size, devices
    "t5_base": ("t5-base", 2e-3, 1024, 1),
    "t5_large": ("t5-large", 2e-3, 1024, 1),
    "stream": ("t5-base", 2e-3, 1024, 1),
    "flan": ("google/flan-t5-xl", 3e-4, 256, 1),
    "gpt2": ("gpt2-large", 1e-4, 512, 1),
    "llama": ("someone/llama-7b-hf", 3e-4, 512, 8),
}
CORESETS = {  # folder and name: coreset, coreset_ratio
    "coreset/kcenter": ("K-center", 0.5),
    "coreset/model": ("model", 0.5),
    "coreset/random": ("random", 0.5),
    "ratio/kcenter_r=0.25": ("K-center", 0.25),
    "ratio/kcenter_r=0.75": ("K-center", 0.75),
}
THEIR_NAMES = {"vanilla": "baseline", "kadapter_2": "kadapter2"}
OUR_NAMES = {"initial": "vanilla", "modular_small": "modular"}


def head(folder: str, name: str, freeze_level: int, **changes: Any) -> dict[str, Any]:
    """A config of the head of CFInjectBench."""
    model, rate, eval_batch_size, ngpu = MODELS[folder]
    output = f"outputs/mine/{folder}_{name}" + "_stream" * (folder == "stream")
    config = {
        "input_length": 18,
        "output_length": 18,
        "num_train_epochs": 1,
        "output_dir": output,
        "dataset": "wiki",
        "dataset_version": "month",
        "train_batch_size": 8,
        "eval_batch_size": eval_batch_size,
        "learning_rate": rate,
        "model": model,
        "method": THEIR_NAMES.get(name, name),
        "coreset": "none",
        "coreset_ratio": 1.0,
        "freeze_level": freeze_level,
        "gradient_accumulation_steps": 3,
        "ngpu": ngpu,
        "use_deepspeed": False,
        "use_lr_scheduling": False,
        "check_validation": False,
        "repeat_num": 1,
        "checkpoint_path": f"outputs/mine/{name}" if folder.startswith("t5") else output,
        "output_log": f"log/mine/{folder}/{name}/",
        "red_flag": "nored",
    }
    more = {"alpha": 1.0, "temperature": 1.0, "distil_epoch": 5} if name == "kd" else {}
    return config | more | changes


HEAD = {
    f"{folder}/{name}": head(folder, name, int(level))
    for folder, listed in TRAINED.items()
    for name, level in (one.split(":") for one in listed.split())
} | {
    place: head("t5_base", "vanilla", 0, coreset=coreset, coreset_ratio=ratio, train_batch_size=512)
    for place, (coreset, ratio) in CORESETS.items()
}


def evaluation(**changes: Any) -> dict[str, Any]:
    """A config that evaluates weights which training wrote."""
    return seed("month", "lora", check_validation=True, output_dir="", checkpoint_path="runs/a") | (
        changes
    )


def temporalwiki(dataset: str) -> dict[str, Any]:
    """A config of TemporalWiki's evaluation."""
    return {
        "input_length": 25,
        "output_length": 10,
        "dataset": dataset,
        "dataset_version": "full",
        "train_batch_size": 32,
        "model": "gpt2-large",
        "method": "baseline",
        "ngpu": 1,
        "num_workers": 40,
        "fp16": True,
        "CUDA_VISIBLE_DEVICES": "0",
        "check_validation": True,
        "mode": "evaluate_ppl",
        "checkpoint_path": "outputs/08/full.ckpt",
        "output_log": "log/mine/changed.csv",
    }


def write(file: Path, config: dict[str, Any]) -> str:
    """The file's path, after writing one key a line, from line 2 on."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(config, indent=4), encoding="utf-8")
    return str(file)


def read(path: Path | str, sets: tuple[str, ...] = (), **flags: Any) -> ResolvedConfig:
    return resolve(read_layers([str(path)], {}, sets, flags), options_of=options_of)


def told(file: Path, config: Mapping[str, Any], sets: tuple[str, ...] = (), **flags: Any) -> str:
    """What is wrong with a config, without the file's name."""
    with pytest.raises(ConfigError) as caught:
        read(write(file, dict(config)), sets, **flags)
    assert caught.value.exit_code == 2
    return str(caught.value).replace(f"{file}:", "")


def notes(found: ResolvedConfig, file: Path) -> str:
    return "\n".join(found.notes).replace(str(file), "FILE")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "old.json"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", SEED)
def test_every_config_of_the_day_month_and_quarter_runs_is_read(
    file: Path, version: str, name: str
) -> None:
    stated = seed(version, name)
    config = read(write(file, stated)).config
    _, freeze_level, method, options = SEED[name]
    assert (config.method, config.freeze_level) == (method, freeze_level)
    assert options.items() <= config.options_for(method.split("_")[0]).items()
    same = stated.keys() - {"method", "checkpoint_path"}
    assert {key: getattr(config, key) for key in same} == {key: stated[key] for key in same}
    assert (config.optimizer, config.max_grad_norm) == ("adafactor", 0.5)
    assert config.checkpoint_path == ""


def test_the_head_of_cfinjectbench_has_50_configs() -> None:
    assert len(HEAD) == 50


@pytest.mark.parametrize("place", HEAD)
def test_every_config_at_the_head_of_cfinjectbench_is_read(file: Path, place: str) -> None:
    stated = HEAD[place]
    found = read(write(file, stated))
    config = found.config
    folder, name = place.split("/")
    method = "vanilla" if place in CORESETS else OUR_NAMES.get(name, name)
    assert config.method == method
    assert config.check_validation == (name == "initial")
    assert config.arm == ("initial" if name == "initial" else method)
    changed = {"method", "checkpoint_path", "coreset", "coreset_ratio", "freeze_level"}
    changed |= {"red_flag", "alpha", "temperature", "distil_epoch"}
    same = stated.keys() - changed - {"check_validation"}
    assert {key: getattr(config, key) for key in same} == {key: stated[key] for key in same}
    assert config.freeze_level == (0 if name == "initial" else stated["freeze_level"])
    assert config.checkpoint_path == ""
    assert "checkpoint_path" in notes(found, file)
    coresets = {"K-center": "k_center", "model": "loss_net"}
    assert config.coreset == coresets.get(stated["coreset"], stated["coreset"])
    if place in CORESETS:
        assert config.coreset_ratio == stated["coreset_ratio"]
    if name == "kd":
        options = config.options_for("kd")
        assert (options["alpha"], options["temperature"]) == (1.0, 1.0)
        assert "distil_epoch (" in notes(found, file)
    assert ("--set stream_seconds=8" in notes(found, file)) == (folder == "stream")


def test_each_value_has_the_line_that_it_is_on(file: Path) -> None:
    path = write(file, seed("day", "modular", seed=3))
    origins = read(path, sets=("output_length=29",)).origins
    numbers = {key: line for line, key in enumerate(seed("day", "modular"), start=2)}
    for key in ("input_length", "method", "output_log"):
        assert origins[key] == f"{path}:{numbers[key]}"
    assert origins["modular.size"] == origins["method"]
    assert origins["output_length"] == "--set"
    assert origins["optimizer"] == origins["max_grad_norm"] == "default of the original code"
    assert origins["prompt_format"] == origins["checkpoint_path"] == "default"


@pytest.mark.parametrize("key", [*RENAMED_KEYS, *IGNORED_KEYS])
def test_every_key_of_theirs_is_read_or_ignored_with_a_reason(file: Path, key: str) -> None:
    values = {"model_type": "models_lora", "fp16": True, "fp_16": True}
    value = values.get(key, 3 if key.endswith("_size") else 0.5)
    found = read(write(file, {key: value}))
    if key in IGNORED_KEYS:
        assert notes(found, file) == f"FILE: ignored: {key} ({IGNORED_KEYS[key]})."
        return
    assert found.origins[RENAMED_KEYS[key]] == f"{file}:2"
    assert "FILE:2: " in notes(found, file) and "is read as" in notes(found, file)


@pytest.mark.parametrize("key", [key for key in SETTINGS if key not in TABLES])
def test_every_setting_of_fki_is_read_as_itself(file: Path, key: str) -> None:
    value = getattr(read(write(file, {})).config, key)
    assert read(write(file, {key: value})).origins[key] == f"{file}:2"


def test_renamed_keys_become_settings_and_options(file: Path) -> None:
    stated = {"method": "mixreview", "grad_norm": 1, "mix_ratio": 4, "mix_decay": 0.7}
    more = {"single_gpu_train_batch_size": 3, "single_gpu_eval_batch_size": 5, "fp16": True}
    config = read(write(file, stated | more)).config
    assert config.max_grad_norm == 1.0 and config.mixed_precision == "bf16"
    assert (config.train_batch_size, config.eval_batch_size) == (3, 5)
    options = config.options_for("mixreview")
    assert (options["ratio"], options["decay"]) == (4.0, 0.7)


@pytest.mark.parametrize(
    ("spelling", "method", "options"),
    [
        *((name, "vanilla", {}) for name in ("vannila", "vanilla", "baseline")),
        *((name, "kadapter_2", {"mode": "stacked"}) for name in ("kadapter", "kadapters")),
        *((name, "kadapter_2", {"mode": "parallel"}) for name in ("kadapter2", "kadapter_2")),
        *((name, "kadapter_3", {"mode": "parallel"}) for name in ("kadapter3", "kadapter_3")),
        *((name, "modular", {"size": "small"}) for name in ("modular_small", "modularsmall")),
        ("mix_review", "mixreview", {}),
        ("rec_adam", "recadam", {}),
        ("models_kadapter", "kadapter_2", {"mode": "stacked"}),
    ],
)
def test_every_spelling_of_a_method_is_read_with_a_note(
    file: Path, spelling: str, method: str, options: dict[str, Any]
) -> None:
    found = read(write(file, {"method": spelling}))
    assert found.config.method == method
    assert options.items() <= found.config.options_for(method.split("_")[0]).items()
    if spelling != method:
        assert f"FILE:2: method '{spelling}' is read as '{method}'" in notes(found, file)


@pytest.mark.parametrize("spelling", METHODS)
def test_a_method_with_its_own_name_and_nothing_to_say_needs_no_note(
    file: Path, spelling: str
) -> None:
    is_silent = spelling in ("vanilla", "recadam")  # recadam's needs a learning rate
    assert bool(read(write(file, {"method": spelling})).notes) != is_silent


def test_differences_from_the_original_code_are_noted(file: Path) -> None:
    def of(name: str) -> str:
        return notes(read(write(file, seed("month", name))), file)

    assert "r / alpha = 0.25, a mistake" in of("lora")
    assert "5000 of the original code had no effect" in of("recadam")
    assert "3 equal modules in parallel" in of("kadapter_3")
    assert "output_log is a folder: scores go to log/wiki/month/lora/scores.csv." in of("lora")
    assert "ignored: checkpoint_path (it equals output_dir" in of("lora")


@pytest.mark.parametrize("rate", [1e-3, 1, 3e-4])
def test_recadam_pulls_a_tenth_of_the_way_per_step(file: Path, rate: float) -> None:
    config = read(write(file, {"learning_rate": rate, "method": "recadam"})).config
    assert config.options_for("recadam")["gamma"] * rate == pytest.approx(0.1, rel=1e-5)


def test_a_flag_that_overrides_a_key_drops_its_note(file: Path) -> None:
    path = write(file, seed("day", "kadapter_2"))
    found = read(path, dataset="mine", method="lora")
    assert "fki's own" not in notes(found, file) and "is read as" not in notes(found, file)


@pytest.mark.parametrize("version", ["full", "small", "small_m", "debug"])
@pytest.mark.parametrize(
    ("dataset", "part"),
    [
        ("recentnews", "stream"),
        ("invariantlama", "probe set 'invariant'"),
        ("updatedlama", "probe set 'updated'"),
        ("newlama", "probe set 'new'"),
        ("newlama_easy", "probe set 'new_easy'"),
        ("recentqa", "probe sets 'updated' and 'new'"),
        ("recentprobe", "probe sets 'updated' and 'new'"),
        ("recent_news", "stream"),
    ],
)
def test_the_files_of_ckl_are_its_dataset_as_a_single_period(
    file: Path, dataset: str, part: str, version: str
) -> None:
    found = read(write(file, ckl(dataset=dataset, dataset_version=version)))
    assert (found.config.dataset, found.config.dataset_version) == ("ckl", "all")
    assert found.config.dataset in KNOWN_DATASETS
    text = notes(found, file)
    assert (
        f"FILE:6: dataset '{dataset}' is a part of CKL; it is read as 'ckl', whose {part}" in text
    )
    assert f"FILE:7: dataset_version '{version}' is a corpus size" in text
    assert (found.config.method, found.config.num_workers) == ("kadapter_2", 40)
    assert "resume_from_checkpoint (" in text


def test_a_flag_overrides_the_data_of_ckl(file: Path) -> None:
    found = read(write(file, ckl()), dataset="wiki", dataset_version="week")
    assert (found.config.dataset, found.config.dataset_version) == ("wiki", "week")
    assert "ckl" not in notes(found, file) and "corpus size" not in notes(found, file)


@pytest.mark.parametrize(
    "dataset",
    [
        *("wikipedia_0809", "wikipedia_0910_gpt2", "wikipedia_1112_gpt2", "wikipedia_09_gpt2"),
        *("data/wikipedia_10_gpt2", "data/wikipedia_09", "data/1024/08", "IL", "IL_template"),
        *("0801-0901_changed", "1101-1201_unchanged", "0901-1001_updated", "1001-1101_new"),
        *("UnC_09", "NL_09", "UL_09", "data/TWiki_Probes/0801-0901_changed.csv"),
        "TWiki_Diffsets/wikipedia_0809_gpt2.csv",
    ],
)
def test_the_files_of_temporalwiki_are_its_dataset(file: Path, dataset: str) -> None:
    stated = temporalwiki(dataset)
    found = read(write(file, stated))
    assert (found.config.dataset, found.config.dataset_version) == ("temporalwiki", "all")
    assert found.config.dataset in KNOWN_DATASETS
    assert f"FILE:4: dataset '{dataset}' is a part of TemporalWiki" in notes(found, file)


def test_a_difference_of_two_months_is_found_by_its_month(file: Path) -> None:
    found = read(write(file, temporalwiki("wikipedia_0910_gpt2")))
    assert "--version month --set max_periods=1 --set since=2021-09" in notes(found, file)


@pytest.mark.parametrize(
    "dataset", ["data/mine", "IL-mine", "wikipedia_mine", "08", "x/IL", "lama"]
)
def test_other_datasets_keep_their_names(file: Path, dataset: str) -> None:
    found = read(write(file, ckl(dataset=dataset)))
    assert found.config.dataset == dataset and "dataset '" not in notes(found, file)


@pytest.mark.parametrize("dataset", ["WOW", "wow", "zsRE", "TriviaQA", "AY2", "fever", "ELI5"])
def test_tasks_of_kilt_are_noted_and_keep_their_names(file: Path, dataset: str) -> None:
    found = read(write(file, ckl(dataset=dataset)))
    assert found.config.dataset == dataset
    assert f"dataset '{dataset}' is a task of KILT" in notes(found, file)


def test_the_untouched_model_is_only_evaluated(file: Path) -> None:
    stated = head("t5_base", "initial", 2)
    found = read(write(file, stated))
    assert (found.config.method, found.config.check_validation) == ("vanilla", True)
    assert found.config.freeze_level == 0 and found.config.output_dir == stated["output_dir"]
    assert found.origins["check_validation"] == f"{file}:12"
    assert "FILE:12: method 'initial' is the untouched model" in notes(found, file)
    assert "checkpoint_path (method 'initial' is the model as it is)" in notes(found, file)
    trained = read(write(file, stated), method="lora")
    assert (trained.config.method, trained.config.check_validation) == ("lora", False)
    assert (trained.config.freeze_level, trained.config.checkpoint_path) == (2, "")


def test_a_checkpoint_beside_training_is_ignored_with_a_note(file: Path) -> None:
    stated = seed("day", "lora", checkpoint_path="outputs/other.ckpt")
    found = read(write(file, stated))
    assert found.config.checkpoint_path == ""
    assert "FILE:19: checkpoint_path is ignored: training starts from model" in notes(found, file)
    assert found.origins["checkpoint_path"] == "default"


@pytest.mark.parametrize("path", ["outputs/other", "outputs/wiki/day/T5_base_lora"])
def test_a_checkpoint_beside_training_is_read_by_an_evaluation(file: Path, path: str) -> None:
    stated = seed("day", "lora", checkpoint_path=path)
    found = read(write(file, stated), sets=("check_validation=true",))
    assert found.config.checkpoint_path == path
    assert found.config.output_dir == ("" if path == stated["output_dir"] else stated["output_dir"])
    assert "checkpoint_path is ignored" not in notes(found, file)


def test_an_evaluation_reads_the_weights_at_checkpoint_path(file: Path) -> None:
    found = read(write(file, evaluation()))
    assert (found.config.check_validation, found.config.checkpoint_path) == (True, "runs/a")
    assert "output_dir is empty: the run gets a new directory under runs/." in notes(found, file)
    found = read(write(file, evaluation(output_dir="runs/a")))
    assert (found.config.output_dir, found.config.checkpoint_path) == ("", "runs/a")
    assert "output_dir (it equals checkpoint_path" in notes(found, file)


def test_weights_that_the_user_states_beside_training_are_refused(file: Path) -> None:
    config = seed("day", "lora", checkpoint_path="outputs/other")
    assert "checkpoint_path requires check_validation = true" in told(
        file, config, sets=("checkpoint_path=runs/b",)
    )
    assert read(write(file, config), sets=("checkpoint_path=",)).config.checkpoint_path == ""


@pytest.mark.parametrize(
    ("written", "read_as"), [("K-center", "k_center"), ("model", "loss_net"), ("random", "random")]
)
def test_coresets_keep_their_meaning(file: Path, written: str, read_as: str) -> None:
    found = read(write(file, {"coreset": written, "coreset_ratio": 0.25, "repeat_num": 3}))
    config = found.config
    assert (config.coreset, config.coreset_ratio, config.repeat_num) == (read_as, 0.25, 3)
    assert any("is read as" in note for note in found.notes) == (written != read_as)


def test_distillation_keeps_its_options(file: Path) -> None:
    stated = {"method": "kd", "alpha": 1, "temperature": 2, "distil_epoch": 5}
    found = read(write(file, stated))
    assert found.config.options_for("kd") == {"alpha": 1.0, "temperature": 2.0}
    assert any("distil_epoch" in note for note in found.notes)
    assert any("was the student" in note for note in found.notes)


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"lerning_rate": 1}, "2: unknown key 'lerning_rate'. Did you mean 'learning_rate'?"),
        ({"coreset_rato": 1}, "2: unknown key 'coreset_rato'. Did you mean 'coreset_ratio'?"),
        ({"method": "recadem"}, "Did you mean 'recadam'?"),
        ({"method": "kadapter4"}, "not 'kadapter4'. Did you mean 'kadapter'?"),
        ({"method": "prune"}, "2: method 'prune' is pruning, which fki does not have."),
        ({"method": "initials"}, "Did you mean 'initial'?"),
        ({"coreset": "kcentre"}, "2: coreset must be 'none', 'random', 'k_center' or 'loss_net'"),
        ({"method": 3}, "2: method must be non-empty text, not 3."),
        ({"method": ["lora"]}, "2: method must be non-empty text, not ['lora']."),
        ({"dataset": ["wiki"]}, "2: dataset must be non-empty text"),
        ({"dataset": {"a": 1}}, "2: dataset must be non-empty text, not a table."),
        ({"output_log": 3}, "2: output_log must be text, not 3."),
        ({"train_batch_size": "8"}, "2: train_batch_size must be an integer of at least 1"),
        ({"train_batch_size": 8.5}, "2: train_batch_size must be an integer of at least 1"),
        ({"use_lr_scheduling": 1}, "2: use_lr_scheduling must be true or false, not 1."),
        ({"fp16": "yes"}, "2: fp16 must be true or false, not 'yes'."),
        ({"freeze_level": 3}, "2: freeze_level must be 0, 1 or 2, not 3."),
        ({"mem_ratio": -1}, "2: mixreview.ratio must be a number of at least 0, not -1."),
        ({"mem_ratio": float("nan")}, "2: mem_ratio must be a finite number, not nan."),
        ({"learning_rate": float("inf")}, "2: learning_rate must be a finite number, not inf."),
        ({"learning_rate": 10**400, "method": "recadam"}, "2: learning_rate must be a number"),
        ({"learning_rate": 1e-320, "method": "recadam", "ngpu": 0}, "4: ngpu must be"),
        ({"mem_ratio": 1, "mix_ratio": 2}, "2: 'mix_ratio' and 'mem_ratio' are the same setting"),
        ({"recadam": {"gamma": 1}}, "2: unknown key 'recadam'."),
        ({"options": {}}, "2: unknown key 'options'."),
    ],
)
def test_an_invalid_value_is_reported_with_its_line(
    file: Path, config: dict[str, Any], text: str
) -> None:
    assert text in told(file, config)


def test_a_duplicate_key_is_reported_with_the_second_line(file: Path) -> None:
    file.write_text('{"ngpu": 1,\n "mode": 0,\n "ngpu": 1,\n "mode": 0}', encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read(file)
    assert f"{file}:3: key 'ngpu' is stated twice; keep one." in str(caught.value)
    assert f"{file}:4: key 'mode' is stated twice; keep one." in str(caught.value)


def test_all_problems_of_a_file_are_reported_at_once(file: Path) -> None:
    text = told(file, ckl(method="lorra", ngpu=0, coresett="none"), output_dir="x", seed=-1)
    assert text.startswith("4 settings are invalid:")
    for line in ("'lora'?", "'coreset'?", "ngpu must", "--seed:"):
        assert line in text


def test_null_is_ignored(file: Path) -> None:
    found = read(write(file, {"output_log": None, "seed": 4}))
    assert (found.config.output_log, found.config.seed) == ("", 4)
    assert notes(found, file) == "FILE: ignored: output_log (null is no value)."


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"seed": 1,\n "ngpu" 2}', ":2:9: Invalid JSON: "),
        ("", ":1:1: Invalid JSON: "),
        ("seed = 1", ":1:1: Invalid JSON: "),
        ('{"seed": 1,}', "Invalid JSON: "),
        ("[1]", 'a config must be a JSON object, {"key": value}, not a list.'),
        ('"a"', "must be a JSON object"),
        ("null", "not null."),
        ("7", "not one value."),
        ("[" * 100_000, "nested too deeply"),
        ('{"seed": ' + "9" * 5000 + "}", "Cannot read "),
        ('{"\\ud800": 1}', "Cannot read "),
    ],
)
def test_a_file_without_a_config_is_an_error(file: Path, text: str, words: str) -> None:
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read(file)
    assert str(file) in str(caught.value) and words in str(caught.value)


def test_a_byte_order_mark_and_odd_spacing_are_read(file: Path) -> None:
    file.write_text('\ufeff\r\n{"seed"\r\n:\t3\r\n,"ngpu":2}', encoding="utf-8")
    origins = read(file).origins
    assert (origins["seed"], origins["ngpu"]) == (f"{file}:2", f"{file}:4")


def test_bytes_that_are_no_text_are_refused(file: Path) -> None:
    file.write_bytes(b'{"model": "\xff"}')
    with pytest.raises(ConfigError, match="Cannot read"):
        read(file)


CONFIGS = {
    **{place: (config, {}) for place, config in HEAD.items()},
    "ckl as it stands": (ckl(), {}),
    "temporalwiki": (temporalwiki("wikipedia_0809_gpt2"), {}),
    **{f"{v}/{n}": (seed(v, n), {}) for v in VERSIONS for n in SEED},
    "ckl": (ckl(), {"dataset": "a b/", "dataset_version": "month"}),
    "evaluation": (evaluation(), {}),
    "deepspeed": (seed("day", "lora", use_deepspeed=True), {"optimizer": "adamw"}),
    "another method": (seed("day", "modular"), {"method": "lora"}),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_the_preset_of_a_config_resolves_to_an_equal_one(tmp_path: Path, name: str) -> None:
    config, flags = CONFIGS[name]
    old, new = tmp_path / "old.json", tmp_path / "new.toml"
    layers = read_layers([write(old, config)], {}, [], flags)
    text = to_preset(resolve_without_imports(layers, options_of=options_of))
    new.write_text(text, encoding="utf-8")
    assert read(new).config == resolve(layers, options_of=options_of).config
    assert all("  # " in line for line in text.splitlines()[1:] if line and line[0] != "[")


def test_a_preset_states_only_what_differs(file: Path) -> None:
    path = write(file, {"seed": 0, "ngpu": 2, "method": "modular"})
    text = to_preset(
        resolve_without_imports(read_layers([path], {}, [], {}), options_of=options_of)
    )
    assert tomllib.loads(text) == {"ngpu": 2, "method": "modular", "modular": {"size": "same"}}
    assert f"ngpu = 2  # {path}:3\n" in text


def test_options_that_the_user_writes_are_checked_on_the_way_to_a_preset(file: Path) -> None:
    found = read_layers([write(file, {"method": "recadam"})], {}, ["recadam.gama=1"], {})
    with pytest.raises(ConfigError, match="Did you mean 'gamma'"):
        resolve_without_imports(found, options_of=options_of)
    found = read_layers([write(file, {"method": "recadam"})], {}, ["lora.r=4"], {})
    text = to_preset(resolve_without_imports(found, options_of=options_of))
    assert tomllib.loads(text) == {"method": "recadam", "lora": {"r": 4}}


def test_every_known_key_has_one_meaning() -> None:
    assert len(KNOWN_KEYS) == len(set(KNOWN_KEYS))
