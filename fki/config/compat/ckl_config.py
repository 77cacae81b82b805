"""Configs of the original research code (.json), read key by key as a layer of settings.

A key that is a setting of fki is that setting; `ckl_keys` maps every other key, and the methods.
Any other key is an error.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fki.config.compat.ckl_keys import (
    CKL_DATASETS,
    IGNORED_KEYS,
    IMPLIED_ORIGIN,
    IMPLIED_SETTINGS,
    KNOWN_KEYS,
    METHOD_SPELLINGS,
    METHODS,
    RECADAM_PULL,
    RENAMED_KEYS,
    UNSUPPORTED_METHODS,
)
from fki.config.compat.json_positions import Member, read_members
from fki.config.renamed_settings import new_name
from fki.config.resolve import Layer
from fki.config.validation import format_value
from fki.core import registry
from fki.core.errors import did_you_mean


def read_ckl_config(path: Path) -> Layer:
    """The layer that a file makes, each value with its "file:line".

    Raises:
        ConfigError: it cannot be read or is no JSON object. What is wrong with single keys is left
            to `resolve`, which tells all problems of all layers at once.
    """
    reading = CklReader(str(path))
    for member in read_members(path):
        reading.take(member)
    reading.finish()
    return reading.layer()


@dataclass(slots=True)
class CklReader:
    """What has been read of a file so far; keys are fki's, dotted."""

    file: str
    settings: dict[str, Any] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)  # their names of these settings
    notes: list[tuple[str, str]] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    ignored: dict[str, str] = field(default_factory=dict)  # their key: why

    def take(self, member: Member) -> None:
        """Read one key of theirs."""
        name, value, line = member
        key = RENAMED_KEYS.get(name, new_name(name))
        place = f"{self.file}:{line}"
        if name in self.names.values() or name in self.ignored:
            self.places[key] = place
            self.problem(key, f"key '{name}' is there twice; keep one.")
        elif name in IGNORED_KEYS:
            self.ignored[name] = IGNORED_KEYS[name]
        elif name not in KNOWN_KEYS:
            self.places[name] = place
            self.problem(name, f"unknown key '{name}'.{did_you_mean(name, KNOWN_KEYS)}")
        elif value is None:
            self.ignored[name] = "null says nothing"
        elif key in self.settings:
            self.problem(key, f"'{name}' and '{self.names[key]}' say the same; keep one.")
        else:
            self.settings[key], self.places[key], self.names[key] = value, place, name
            self.look_at(key, name, value)

    def look_at(self, key: str, name: str, value: Any) -> None:
        """Turn one value of theirs into one of fki's."""
        if isinstance(value, float) and not math.isfinite(value):
            self.problem(key, f"{name} must be a finite number, not {value}.")
        elif name in ("fp16", "fp_16"):
            self.precision(name, value)
        elif key == "method" and isinstance(value, str):
            self.method(value)
        elif key == "dataset" and isinstance(value, str) and value in CKL_DATASETS:
            text = f"dataset '{value}' is CKL's and does not come with fki."
            self.problem(key, f"{text} Add: --dataset wiki, or a folder of yours.")
        elif key == "dataset" and value == "wiki":
            self.note(key, "dataset 'wiki' is fki's own, not the originals' of 2019 to 2023.")
        elif key == "dataset_version" and value in ("small", "full"):
            text = f"dataset_version '{value}' is a size of CKL's corpus, and here the length of a"
            self.problem(key, f"{text} period. Add: --version quarter (or day, or month).")
        elif key == "output_dir" and value == "":
            self.note(key, "output_dir is empty: the run gets a new folder under runs/.")
        elif key == "output_log" and isinstance(value, str) and is_log_folder(value):
            self.note(key, f"output_log is a folder: scores go to {Path(value) / 'scores.csv'}.")
        elif name != key:
            self.note(key, f"{name} is read as {key}.")

    def method(self, name: str) -> None:
        """Their method as one of fki's; a plug-in's name means the plug-in."""
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
        elif name in UNSUPPORTED_METHODS:
            self.problem("method", f"method '{name}' is {UNSUPPORTED_METHODS[name]}.")
        elif name not in registry.method_names():
            close = did_you_mean(name, [*METHOD_SPELLINGS, *registry.method_names()])
            known = ", ".join(METHOD_SPELLINGS)
            self.problem("method", f"method must be one of {known}, not '{name}'.{close}")

    def precision(self, name: str, value: Any) -> None:
        """fp16 becomes bf16, since T5 overflows in fp16."""
        if not isinstance(value, bool):
            self.problem(
                "mixed_precision", f"{name} must be true or false, not {format_value(value)}."
            )
            return
        self.settings["mixed_precision"] = "bf16" if value else "no"
        read_as = "'bf16', because T5 overflows in fp16" if value else "'no'"
        self.note("mixed_precision", f"{name} is read as mixed_precision = {read_as}.")

    def finish(self) -> None:
        """What depends on several keys, and what no key says."""
        self.checkpoint()
        self.recadam()
        for key, value in IMPLIED_SETTINGS.items():
            if key not in self.settings:
                self.settings[key], self.places[key] = value, IMPLIED_ORIGIN
        if self.ignored:
            self.notes.append(("", f"{self.file}: ignored: {group_by_reason(self.ignored)}."))

    def checkpoint(self) -> None:
        """CFInjectBench gives one folder as both output_dir and checkpoint_path: training writes
        it, evaluating reads it. One that training is to start from, as in CKL, is left to
        `resolve`, which refuses it."""
        path, output = self.settings.get("checkpoint_path"), self.settings.get("output_dir")
        is_evaluation = self.settings.get("check_validation") is True
        if path and path == output:
            if is_evaluation:
                self.ignore("output_dir", "it is checkpoint_path; the run gets a new folder")
            else:
                self.ignore("checkpoint_path", "it is output_dir; training starts from model")
        elif is_evaluation and isinstance(path, str) and path.endswith(".ckpt"):
            text = (
                f"checkpoint_path '{path}' is a file of PyTorch Lightning, which fki cannot read."
            )
            text += " Add: --set checkpoint_path=runs/RUN"
            self.problem("checkpoint_path", f"{text}, or checkpoint_path= for the bare model.")

    def recadam(self) -> None:
        """RecAdam's gamma, such that a step pulls as far as in its paper."""
        rate: Any = self.settings.get("learning_rate")
        if self.settings.get("method") != "recadam" or not is_learning_rate(rate):
            return
        gamma = float(f"{RECADAM_PULL / rate:.6g}")
        self.settings["recadam.gamma"] = gamma
        self.places["recadam.gamma"] = self.places["method"]
        self.note(
            "method",
            "method 'recadam' pulls to the start weights with recadam.gamma = 0.1 / learning_rate "
            f"= {gamma:g}, as strongly as its paper. The originals' 5000 was never applied: they "
            "ran plain Adam, which is --set recadam.anneal=constant",
        )

    def note(self, key: str, text: str) -> None:
        self.notes.append((key, f"{self.places[key]}: {text}"))

    def ignore(self, key: str, reason: str) -> None:
        """Take back a setting that was read."""
        del self.settings[key], self.places[key]
        self.ignored[key] = reason

    def problem(self, key: str, text: str) -> None:
        """Tell it unless a layer above states the key; the value itself is left out."""
        self.settings.pop(key, None)
        self.problems.append((key, text))

    def layer(self) -> Layer:
        """All of it, with tables nested."""
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
            is_builtin=True,
        )


def is_learning_rate(value: Any) -> bool:
    """Is this a learning rate that can be divided by?"""
    return isinstance(value, int | float) and not isinstance(value, bool) and 1e-12 < value < 1e12


def is_log_folder(output_log: str) -> bool:
    """Does this output_log name a folder? Theirs was put in front of file names."""
    return bool(output_log) and Path(output_log).suffix not in (".csv", ".jsonl")


def group_by_reason(ignored: Mapping[str, str]) -> str:
    """Keys with their reason: `a, b (why); c (why)`."""
    keys: dict[str, list[str]] = {}
    for key, reason in ignored.items():
        keys.setdefault(reason, []).append(key)
    return "; ".join(f"{', '.join(names)} ({reason})" for reason, names in keys.items())
