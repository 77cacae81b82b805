"""Read a config of the original research code (.json), key by key, as a layer of settings.

A key with the name of a setting is that setting. `ckl_keys` maps the other keys and the methods.
An unknown key is an error.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fki.config.compat.ckl_keys import (
    CKL_FILES,
    CORESETS,
    CORPUS_SIZES,
    DECODER_NAMES,
    DECODER_SETTINGS,
    DIFFSET,
    IGNORED_KEYS,
    IMPLIED_ORIGIN,
    IMPLIED_SETTINGS,
    KILT_TASKS,
    KNOWN_KEYS,
    METHOD_SPELLINGS,
    METHODS,
    RECADAM_PULL,
    RENAMED_KEYS,
    STREAM_SECONDS,
    TEMPORALWIKI_FILE,
    UNSUPPORTED_METHODS,
)
from fki.config.compat.json_positions import Member, read_members
from fki.config.model_family import DECODER, general_preset
from fki.config.renamed_settings import new_name
from fki.config.resolve import Condition, Layer
from fki.config.validation import format_value
from fki.core import registry
from fki.core.errors import did_you_mean


def read_ckl_config(path: Path) -> Layer:
    """Read a file as a layer, each value with its "file:line".

    Raises:
        ConfigError: the file cannot be read or is not a JSON object. Problems of single keys are
            part of the layer: `resolve` reports those of all layers at once.
    """
    reader = CklReader(str(path))
    for member in read_members(path):
        reader.read_member(member)
    reader.finish()
    return reader.layer()


@dataclass(slots=True)
class CklReader:
    """The content of a file so far, under the dotted names of settings."""

    file: str
    settings: dict[str, Any] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)  # setting to the key in the file
    notes: list[tuple[str, str]] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    ignored: dict[str, str] = field(default_factory=dict)  # key in the file to the reason
    conditions: list[Condition] = field(default_factory=list)

    def read_member(self, member: Member) -> None:
        """Read one key of the file."""
        name, value, line = member
        key = RENAMED_KEYS.get(name, new_name(name))
        place = f"{self.file}:{line}"
        if name in self.names.values() or name in self.ignored:
            self.places[key] = place
            self.problem(key, f"key '{name}' is stated twice; keep one.")
        elif name in IGNORED_KEYS:
            self.ignored[name] = IGNORED_KEYS[name]
        elif name not in KNOWN_KEYS:
            self.places[name] = place
            self.problem(name, f"unknown key '{name}'.{did_you_mean(name, KNOWN_KEYS)}")
        elif value is None:
            self.ignored[name] = "null is no value"
        elif key in self.settings:
            self.problem(key, f"'{name}' and '{self.names[key]}' are the same setting; keep one.")
        else:
            self.settings[key], self.places[key], self.names[key] = value, place, name
            self.convert_value(key, name, value)

    def convert_value(self, key: str, name: str, value: Any) -> None:
        """Convert the value of a key to that of the setting, with a note if it changes."""
        if isinstance(value, float) and not math.isfinite(value):
            self.problem(key, f"{name} must be a finite number, not {value}.")
        elif name in ("fp16", "fp_16"):
            self.convert_precision(name, value)
        elif key == "method" and isinstance(value, str):
            self.convert_method(value)
        elif key == "coreset" and isinstance(value, str) and value in CORESETS:
            self.settings[key] = CORESETS[value]
            self.note(key, f"coreset '{value}' is read as '{CORESETS[value]}'.")
        elif key == "dataset" and isinstance(value, str):
            self.convert_dataset(value)
        elif key == "dataset_version" and isinstance(value, str) and value in CORPUS_SIZES:
            self.settings[key] = "all"
            text = f"dataset_version '{value}' is a corpus size in CKL; it is read as 'all', a"
            self.note(key, f"{text} single period.")
        elif key == "output_dir" and value == "":
            self.note(key, "output_dir is empty: the run gets a new directory under runs/.")
        elif key == "output_log" and isinstance(value, str) and is_log_folder(value):
            self.note(key, f"output_log is a folder: scores go to {Path(value) / 'scores.csv'}.")
        elif name != key:
            self.note(key, f"{name} is read as {key}.")

    def convert_dataset(self, name: str) -> None:
        """Convert the name of a file of CKL or TemporalWiki to that of its dataset."""
        months = DIFFSET.search(name)
        if name in CKL_FILES:
            self.settings["dataset"] = "ckl"
            text = f"dataset '{name}' is a part of CKL; it is read as 'ckl', whose "
            self.note("dataset", f"{text}{CKL_FILES[name]} it is.")
        elif TEMPORALWIKI_FILE.fullmatch(name):
            self.settings["dataset"] = "temporalwiki"
            text = f"dataset '{name}' is a part of TemporalWiki; it is read as 'temporalwiki', "
            text += "with the changes of all months."
            month = "--version month --set max_periods=1 --set since=2021-"
            self.note("dataset", f"{text} Only these: {month}{months[1]}" if months else text)
        elif name.casefold() in KILT_TASKS and name != "zsre":  # fki's own; KILT's is zsRE
            text = f"dataset '{name}' is a task of KILT, which fki does not have"
            self.note("dataset", f"{text}. With the same rows in a folder: --dataset FOLDER")
        elif name == "wiki":
            text = "dataset 'wiki' is the one of fki, not that of the original code (2019 to 2023)."
            self.note("dataset", text)

    def convert_method(self, name: str) -> None:
        """Convert a method's name; the name of a plug-in is the plug-in."""
        spelling = name.removeprefix("models_").replace("_", "")
        if spelling in METHODS:
            meaning = METHODS[spelling]
            self.settings["method"] = meaning.method
            for key, value in meaning.options.items():
                self.settings[key], self.places[key] = value, self.places["method"]
            options = "".join(f", {key} = '{value}'" for key, value in meaning.options.items())
            remark = f": {meaning.remark}" if meaning.remark else "."
            if meaning.remark or name != meaning.method:
                text = f"method '{name}' is read as '{meaning.method}'{options}{remark}"
                self.note("method", text)
        elif name == registry.INITIAL:
            pass  # `resolve` reads it
        elif name in UNSUPPORTED_METHODS:
            self.problem("method", f"method '{name}' is {UNSUPPORTED_METHODS[name]}.")
        elif name not in registry.method_names():
            close = did_you_mean(name, [*METHOD_SPELLINGS, *registry.method_names()])
            known = ", ".join(METHOD_SPELLINGS)
            self.problem("method", f"method must be one of {known}, not '{name}'.{close}")

    def convert_precision(self, name: str, value: Any) -> None:
        """Convert fp16 to bf16, because T5 overflows in fp16."""
        if not isinstance(value, bool):
            self.problem(
                "mixed_precision", f"{name} must be true or false, not {format_value(value)}."
            )
            return
        self.settings["mixed_precision"] = "bf16" if value else "no"
        read_as = "'bf16', because T5 overflows in fp16" if value else "'no'"
        self.note("mixed_precision", f"{name} is read as mixed_precision = {read_as}.")

    def finish(self) -> None:
        """Convert what depends on several keys, and add the settings that the code implied."""
        self.convert_checkpoint()
        self.convert_recadam()
        self.convert_coreset()
        self.note_time_limit()
        self.imply_decoder()
        for key, value in IMPLIED_SETTINGS.items():
            if key not in self.settings:
                self.settings[key], self.places[key] = value, IMPLIED_ORIGIN
        if self.ignored:
            self.notes.append(("", f"{self.file}: ignored: {group_by_reason(self.ignored)}."))

    def imply_decoder(self) -> None:
        """Add the settings of a decoder, if the file's model is one by its files or its name."""
        model: Any = self.settings.get("model")
        if not isinstance(model, str):
            return
        if general_preset(model) != DECODER and not DECODER_NAMES.search(model):
            return
        for key, value in DECODER_SETTINGS.items():
            self.settings[key], self.places[key] = value, self.places["model"]
        self.note(
            "prompt_format",
            f"model '{model}' is a decoder: questions are asked as completions "
            "(prompt_format = 'completion'), documents are learned by next-token prediction.",
        )

    def convert_checkpoint(self) -> None:
        """Let training ignore checkpoint_path, as CFInjectBench does, and evaluation read it.

        There, training writes the folder that evaluation reads, so both may have one path.
        """
        path, output = self.settings.get("checkpoint_path"), self.settings.get("output_dir")
        if not isinstance(path, str) or not path:
            return
        if self.settings.get("method") == registry.INITIAL:
            self.ignore("checkpoint_path", "method 'initial' is the model as it is")
            return
        if path == output:
            text = f"{self.file}: ignored: "
            reason = "output_dir (it equals checkpoint_path; the run gets a new directory)"
            self.add_condition("output_dir", is_evaluation=True, note=f"{text}{reason}.")
            reason = "checkpoint_path (it equals output_dir; training starts from model)"
            note = f"{text}{reason}."
        else:
            note = (
                f"{self.places['checkpoint_path']}: checkpoint_path is ignored: training starts "
                f"from model, as in CFInjectBench. CKL and TemporalWiki start from '{path}'; to "
                "start from a run of fki: --continue-from RUN"
            )
        self.add_condition("checkpoint_path", is_evaluation=False, note=note)

    def add_condition(self, key: str, *, is_evaluation: bool, note: str) -> None:
        """Ignore a setting, with a note, in evaluation or in training."""
        self.conditions.append(Condition(key, "check_validation", is_evaluation, note))

    def convert_recadam(self) -> None:
        """Set the gamma of RecAdam so that the pull per step is that of the paper."""
        rate: Any = self.settings.get("learning_rate")
        if self.settings.get("method") != "recadam" or not is_learning_rate(rate):
            return
        gamma = float(f"{RECADAM_PULL / rate:.6g}")
        self.settings["recadam.gamma"] = gamma
        self.places["recadam.gamma"] = self.places["method"]
        self.note(
            "method",
            f"method 'recadam' uses recadam.gamma = 0.1 / learning_rate = {gamma:g}, the pull of "
            "its paper. The 5000 of the original code had no effect: it ran plain Adam, which is "
            "--set recadam.anneal=constant",
        )

    def convert_coreset(self) -> None:
        """Ignore the ratio of a coreset where the file selects none."""
        if "coreset_ratio" in self.settings and self.settings.get("coreset") == "none":
            self.ignore("coreset_ratio", "coreset = none trains on every example")

    def note_time_limit(self) -> None:
        """Note the time limit of CFInjectBench's streams, which is in a script, not in a config."""
        output: Any = self.settings.get("output_dir")
        if isinstance(output, str) and output.rstrip("/").endswith("_stream"):
            self.note(
                "output_dir",
                "a config of a time-limited stream, whose limit is part of the script of "
                f"CFInjectBench. To set it: --set stream_seconds={STREAM_SECONDS}",
            )

    def note(self, key: str, text: str) -> None:
        """Add a note for the user."""
        self.notes.append((key, f"{self.places[key]}: {text}"))

    def ignore(self, key: str, reason: str) -> None:
        """Remove a setting and list its key as ignored."""
        del self.settings[key], self.places[key]
        self.ignored[key] = reason

    def problem(self, key: str, text: str) -> None:
        """Add a problem and remove the value; a higher layer that states the key drops it."""
        self.settings.pop(key, None)
        self.problems.append((key, text))

    def layer(self) -> Layer:
        """The layer of all that was read, with nested tables."""
        values: dict[str, Any] = {}
        for key, value in self.settings.items():
            table, _, option = key.rpartition(".")
            (values.setdefault(table, {}) if table else values)[option] = value
        tables = {key.partition(".")[0]: place for key, place in self.places.items() if "." in key}
        return Layer(
            values,
            tables | self.places,
            notes=tuple(self.notes),
            problems=tuple(self.problems),
            conditions=tuple(self.conditions),
            is_builtin=True,
        )


def is_learning_rate(value: Any) -> bool:
    """Whether the value is a learning rate that can be a divisor."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 1e-12 < value < 1e12


def is_log_folder(output_log: str) -> bool:
    """Whether this output_log is a folder; in the original code it was a prefix of file names."""
    return bool(output_log) and Path(output_log).suffix not in (".csv", ".jsonl")


def group_by_reason(ignored: Mapping[str, str]) -> str:
    """Format keys by reason: `a, b (reason); c (reason)`."""
    keys: dict[str, list[str]] = {}
    for key, reason in ignored.items():
        keys.setdefault(reason, []).append(key)
    return "; ".join(f"{', '.join(names)} ({reason})" for reason, names in keys.items())
