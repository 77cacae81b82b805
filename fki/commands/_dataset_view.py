"""Tables and progress bars of `fki download`: known datasets, their contents, their checksums."""

import os
from collections.abc import Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from fki.commands._console import Show, make_table
from fki.core.calendar import ALL
from fki.core.errors import DataError
from fki.core.formatting import format_command, format_number
from fki.core.probe_sets import describe as describe_set
from fki.core.types import PromptFormat, Version

if TYPE_CHECKING:
    from fki.config.schema import Config
    from fki.core.types import ProbeSet, Stream
    from fki.net.downloads import FileProgress

METHOD = "recadam"  # of the suggested command
PRESET = f"t5_{METHOD}"
MAX_QUOTED = 80  # characters of an answer in a note
SHOWN_QUESTIONS = 10  # of a checked dataset
READ_AS: PromptFormat = "sentinel"  # the questions of a checked dataset
VERSIONS: tuple[Version, ...] = ("day", "month", "quarter")  # shown; others cut the same facts


def list_datasets(show: Show) -> None:
    """List the known datasets, the sources, and the datasets made on this machine."""
    from fki.data.known_datasets import KNOWN_DATASETS
    from fki.data.open_dataset import list_datasets
    from fki.sources.build import SUMMARIES

    table = make_table("dataset", "contents", "downloaded")
    names = list_datasets()
    for dataset in KNOWN_DATASETS.values():
        is_here = dataset.name in names
        table.add_row(dataset.name, dataset.summary, "yes" if is_here else "no")
        show.data(dataset=dataset.name, summary=dataset.summary, here=is_here)
    for typed, summary in SUMMARIES.items():
        table.add_row(typed, summary, "")
        show.data(dataset=typed, summary=summary, here=False)
    for name in names:
        if name not in KNOWN_DATASETS:
            table.add_row(name, "made on this machine", "yes")
            show.data(dataset=name, summary="made on this machine", here=True)
    show.table(table)


def verify_all(show: Show) -> None:
    """Check each dataset on this machine against its manifest. Raises DataError if one differs."""
    from fki.data import open_dataset

    table = make_table("dataset", "digest", "files")
    faults = []
    for name in open_dataset.list_datasets():
        try:
            digest = open_dataset.verify_dataset(open_dataset.dataset_folder(name))
            table.add_row(name, digest[:16], "unchanged")
            show.data(dataset=name, digest=digest, ok=True)
        except DataError as error:
            faults.append(str(error))
            table.add_row(name, "", "altered")
            show.data(dataset=name, ok=False, problem=str(error))
    show.table(table)
    if faults:
        raise DataError("\n".join(faults), hint="Move altered datasets away and download again.")


def check_folder(folder: Path, model: str | None, show: Show) -> None:
    """Check a dataset folder: rows, periods, probes, manifest and card. Show what is unusual.

    Args:
        model: whose input and output the texts must fit; None for that of the settings.
    Raises DataError if there is a fault.
    """
    from fki.data import open_dataset
    from fki.data.dataset_folder import has_probes_alone
    from fki.data.inspect_folder import inspect_folder

    faults = open_dataset.find_faults(folder)
    path = str(folder.resolve())
    if has_probes_alone(folder):
        return _check_probes(folder, faults, show)
    streams = [open_dataset.open_stream(path, version, READ_AS) for version in VERSIONS]
    describe(streams, show)
    for finding in inspect_folder(folder, streams):
        show.note(f"Note: {finding}.")
        show.data(
            finding=finding.kind,
            text=finding.text,
            count=finding.total,
            examples=[*finding.examples],
        )
    if faults:
        raise DataError("\n".join(faults))
    show_questions(streams[-1].probe_sets, show)
    show.data(folder=str(folder), ok=True)
    show.note(f"{folder}: no faults found.")
    suggest_training(str(folder), streams, show, model)


def _check_probes(folder: Path, faults: list[str], show: Show) -> None:
    """The check of a folder that has probe sets alone."""
    from fki.data import open_dataset

    path = str(folder.resolve())
    sets = open_dataset.open_probes(path)
    describe_probes(sets, show)
    if faults:
        raise DataError("\n".join(faults))
    show_questions(sets, show)
    show.data(folder=str(folder), ok=True)
    show.note(f"{folder}: no faults found.")
    suggest_probes(str(folder), show)


def describe_probes(sets: Sequence["ProbeSet"], show: Show) -> None:
    """One row per probe set of a dataset without a stream."""
    table = make_table(
        "probe set", "probes", "relations", "meaning", numbers=["probes", "relations"]
    )
    for probe_set in sets:
        relations = {probe.relation for probe in probe_set.probes} - {""}
        numbers = (format_number(n, 0) for n in (len(probe_set), len(relations)))
        table.add_row(probe_set.name, *numbers, describe_set(probe_set.name))
        show.data(probe_set=probe_set.name, probes=len(probe_set), relations=len(relations))
    show.table(table)


def suggest_probes(place: str, show: Show) -> None:
    """Show a command that asks the probe sets of a place beside a stream."""
    further = ("--set", f"probes={place}")
    show.next_commands(
        format_command("fki", "train", "--preset", PRESET, "--version", VERSIONS[-1], *further)
    )


def show_questions(probe_sets: Sequence["ProbeSet"], show: Show) -> None:
    """Show some probes of each set as they are asked, at most SHOWN_QUESTIONS."""
    per_set = max(1, SHOWN_QUESTIONS // max(1, len(probe_sets)))
    table = make_table("probe set", "question", "answers")
    for probe_set in probe_sets[:SHOWN_QUESTIONS]:
        probes = chain.from_iterable(probe_set.by_period.values())
        for probe in islice(probes, per_set):
            answers = " | ".join(probe.answers)
            table.add_row(probe_set.name, shorten(probe.source), shorten(answers))
            show.data(probe_set=probe_set.name, question=probe.source, answers=[*probe.answers])
    show.table(table)


def shorten(text: str) -> str:
    """The text, cut to MAX_QUOTED characters."""
    return text if len(text) <= MAX_QUOTED else f"{text[: MAX_QUOTED - 1]}…"


def suggest_training(
    dataset: str, streams: "list[Stream]", show: Show, model: str | None = None
) -> None:
    """Show a command that trains on a dataset, with the lengths that its texts need.

    Args:
        streams: of the dataset, in each version.
        model: the model to train; None for that of the settings.
    """
    from fki.config.model_family import general_preset
    from fki.config.presets import read_layers
    from fki.config.resolve import resolve_without_imports
    from fki.core import registry
    from fki.data.open_dataset import open_stream
    from fki.data.text_lengths import find_longest_answer

    stream = streams[-1]
    version = stream.version if stream.is_dated else ALL
    preset = PRESET if model is None else f"{general_preset(model)}_{METHOD}"
    layers = read_layers([preset], os.environ, [], {"model": model})
    config = resolve_without_imports(layers, options_of=registry.options_of).config
    command = ["fki", "train", "--preset", preset, "--version", version]
    command += ["--model", model] if model is not None else []
    command += ["--dataset", dataset] if dataset != config.dataset else []
    longest, answer = find_longest_answer(stream, config.model, config.prompt_format)
    if longest > config.output_length:
        command += ["--set", f"output_length={longest}"]
        text = f"The longest answer exceeds output_length = {config.output_length} tokens; it has"
        show.note(f"Note: {text} {longest}: '{answer[:MAX_QUOTED]}'.")
        show.data(finding="long_answer", text=text, count=longest, examples=[answer])
    if config.prompt_format != READ_AS:
        stream = open_stream(dataset, stream.version, config.prompt_format)
    command += _fit_questions(stream, config, show)
    show.next_commands(format_command(*command))


def _fit_questions(stream: "Stream", config: "Config", show: Show) -> list[str]:
    """Report the questions that exceed `input_length`, and return the option that keeps them."""
    from fki.data.text_lengths import find_long_questions

    limit = config.input_length
    found = find_long_questions(stream, config.model, config.prompt_format, limit)
    if found is None:
        show.note(
            f"Note: the tokenizer of {config.model} is not on this machine, so the lengths of the "
            "questions are not checked; fki plan checks them."
        )
        return []
    if not found.total:
        return []
    text = f"Questions that exceed input_length = {limit} tokens of {config.model} and are cut"
    first = shorten(found.examples[0])
    show.note(f"Note: {text}: {found.total:,}; the longest has {found.longest}; '{first}'.")
    show.data(finding="long_questions", text=text, count=found.total, examples=[*found.examples])
    return ["--set", f"input_length={found.longest}"]


def describe(streams: "list[Stream]", show: Show) -> None:
    """One row per version: periods, facts, and probes by set."""
    from fki.data.stream import describe_missing_dates

    sets = [s.name for s in streams[0].probe_sets]
    counts = ["periods", "facts", *sets]
    table = make_table("version", *counts, numbers=counts)
    for stream in streams:
        facts = sum(len(p.facts) for p in stream.periods)
        probes = {s.name: len(s) for s in stream.probe_sets}
        row = [len(stream.periods), facts, *(probes.get(s, 0) for s in sets)]
        first, last = stream.periods[0].start, stream.periods[-1].end
        table.add_row(stream.version, *(format_number(n, 0) for n in row))
        show.data(
            version=stream.version,
            periods=len(stream.periods),
            facts=facts,
            probes=probes,
            wordings={str(number): count for number, count in stream.wordings.items()},
            first=str(first) if stream.is_dated else None,
            last=str(last) if stream.is_dated else None,
        )
    show.table(table)
    for note in describe_missing_dates(streams[0]):
        show.note(f"Note: {note}")
    runs = f"The stream runs from {first} to {last}; p" if streams[0].is_dated else "P"
    show.note(f"{runs}robes are counted by set.")
    if max(stream.wordings, default=1) > 1:
        each = (
            f"{number} for {count:,} fact{'s' * (count != 1)}"
            for number, count in stream.wordings.items()
        )
        show.note(f"Wordings for training (setting wordings): {', '.join(each)}.")


class DownloadProgress:
    """Progress bars on stderr, with the remaining time, for files and for counted steps."""

    def __init__(self, show: Show) -> None:
        self._show = show
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[shown]}", markup=False),
            TimeRemainingColumn(),
            console=show.err,
            transient=True,
            disable=not show.err.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "DownloadProgress":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def note(self, text: str) -> None:
        """Show a sentence above the bars."""
        self._show.note(text)

    def report_file(self, progress: "FileProgress") -> None:
        """Show how much of a file is read."""
        total = f"/{progress.total / 2**20:,.1f}" if progress.total else ""
        shown = f"{progress.done / 2**20:,.1f}{total} MiB"
        self._update(progress.name, progress.done, progress.total, shown)

    def report_count(self, label: str, done: int, total: int) -> None:
        """Show how many parts of a step are done."""
        self._update(label, done, total, f"{done:,}/{total:,}")
        if done == total and not self._show.err.is_terminal:
            self.note(f"{label}: {total:,}")

    def _update(self, name: str, done: int, total: int | None, shown: str) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total, shown=shown)
        self._bars.update(self._tasks[name], completed=done, total=total, shown=shown)
