"""The model card of an exported folder: its scores, its provenance, and how to load it."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, PackageLoader, StrictUndefined

from fki import __version__
from fki.comparison.retention import (
    ForgottenProbe,
    ProbeSetRetention,
    RelationLoss,
    Retention,
    read_retention,
)
from fki.comparison.types import Estimate
from fki.config.schema import Options
from fki.core import registry
from fki.core.atomic_io import write_text
from fki.core.errors import DataError
from fki.core.formatting import format_command, format_list, format_number
from fki.core.probe_sets import PROBE_SETS, matrix_probe_sets
from fki.core.types import CAUSAL_FORMATS
from fki.data.causal_tokenizer import CausalTokenizer
from fki.exporting.formats.plain_decoder import prompt_text
from fki.exporting.provenance import (
    BaseModelInfo,
    TrainingData,
    describe_base,
    describe_data,
    read_relation_labels,
)
from fki.replay.base import make_replay

if TYPE_CHECKING:
    from fki.exporting.export import ExportedFolder
    from fki.exporting.model_soup import ModelSoup
    from fki.exporting.parity import ProbeSetParity
    from fki.runs.open_run import LoadedModel

CARD = "README.md"
MAX_RELATIONS = 8  # relations that the first paragraph names
MAX_LOSSES = 5  # relations in the table of forgetting
SETTINGS = (
    "learning_rate",
    "optimizer",
    "num_train_epochs",
    "train_batch_size",
    "freeze_level",
    "seed",
)


def write_card(exported: "ExportedFolder", name: str, soup: "ModelSoup | None" = None) -> None:
    """Write README.md into the folder.

    Args:
        name: the folder's name for its readers, or `owner/name` on the Hub.
        soup: the average and its ingredients, where the model is an average.
    """
    write_text(exported.folder / CARD, render_card(exported, name, soup))


def render_card(exported: "ExportedFolder", name: str, soup: "ModelSoup | None" = None) -> str:
    """Markdown with the front matter that the Hub reads."""
    loaded, export_format = exported.loaded, exported.format
    base, data, retention, labels = _collect_facts(loaded)
    text = _load_template().render(
        title=Path(name).name,
        base=base,
        data=data,
        method=loaded.config.method,
        idea=_method_summary(loaded.config.method),
        averaged=loaded.label if loaded.averaged else "",
        relations=_list_relations(data),
        loading=_render_code(exported, name),
        is_decoder=loaded.config.prompt_format in CAUSAL_FORMATS,
        has_code=(exported.folder / "modeling_fki.py").is_file(),
        prompt_format=loaded.config.prompt_format,
        command=format_command("fki", "ask", name, _first_question(exported)),
        scores=[_score_row(row, soup) for row in retention.probe_sets],
        meanings=[
            (row.probe_set, PROBE_SETS[row.probe_set].meaning)
            for row in retention.probe_sets
            if row.probe_set in PROBE_SETS
        ],
        taught=_list_taught(retention),
        losses=[_forgetting_row(row, labels) for row in retention.losses[:MAX_LOSSES]]
        if soup is None
        else [],
        examples=[_example_row(example) for example in retention.examples],
        training=[*_training_rows(exported, base)],
        runtime=export_format.runtime,
        precision=export_format.precision,
        checks=[*_check_rows(exported)],
        parity=[_parity_row(row) for row in exported.parity.probe_sets],
        files=exported.files.items(),
    )
    return f"---\n{build_metadata(exported, base, data, name).to_yaml()}\n---\n\n{text}"


def build_metadata(
    exported: "ExportedFolder", base: BaseModelInfo, data: TrainingData, name: str
) -> ModelCardData:
    """The Hub's metadata: license, base model, tags, and exact match by probe set."""
    method = exported.loaded.config.method
    results = [
        EvalResult(
            task_type="question-answering",
            dataset_type=data.name,
            dataset_name=data.name,
            dataset_config=row.probe_set,
            metric_type="exact_match",
            metric_value=round(row.em, 2),
        )
        for row in exported.parity.probe_sets
    ]
    extra: dict[str, Any] = {"base_model": base.name} if base.on_the_hub else {}
    return ModelCardData(
        license=base.license or None,
        language="en",
        library_name=exported.format.library,
        tags=[exported.loaded.base.model.config.model_type, "knowledge-injection", "fki", method],
        model_name=Path(name).name,
        eval_results=results or None,
        **extra,
    )


def _collect_facts(
    loaded: "LoadedModel",
) -> tuple[BaseModelInfo, TrainingData, Retention, dict[str, str]]:
    """Base model, data, retention and relation labels. Raises DataError for unreadable files."""
    assert loaded.run is not None
    try:
        retention = read_retention(loaded.run, loaded.checkpoint)
        return describe_base(loaded), describe_data(loaded), retention, read_relation_labels(loaded)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"A file in {loaded.run.folder} does not have the format of a run: {error!r}."
        ) from error


def _load_template() -> Any:
    environment = Environment(
        loader=PackageLoader("fki.exporting"), undefined=StrictUndefined, trim_blocks=False
    )
    return environment.get_template("card.md")


def _method_summary(method: str) -> str:
    text = registry.summary_of(method)
    return text[0].lower() + text[1:]


def _list_relations(data: TrainingData) -> str:
    names = [name for name, _ in data.relations]
    left = len(names) - MAX_RELATIONS
    return format_list([*names[:MAX_RELATIONS], *([f"{left} more"] if left > 0 else [])])


def _first_question(exported: "ExportedFolder") -> str:
    """The first probe of the run."""
    assert exported.loaded.run is not None
    row = next(exported.loaded.run.read_lines("probes.jsonl"))
    return str(row["source"])


def _render_code(exported: "ExportedFolder", name: str) -> str:
    """Lines of Python that load the folder, and print a decoder's answer to the first probe."""
    loaded, export_format = exported.loaded, exported.format
    if export_format.loading_code is None:
        return ""
    code = export_format.loading_code(exported.folder, name)
    tokenizer = loaded.example_tokenizer()
    if export_format.asking_code is None or not isinstance(tokenizer, CausalTokenizer):
        return code
    prompt = prompt_text(tokenizer, _first_question(exported))
    length = loaded.config.output_length
    return f"{code}\n{export_format.asking_code(name, prompt, length)}" if prompt else code


def _list_taught(retention: Retention) -> str:
    """The exact match on the sets that the model was trained on, as a phrase."""
    taught = matrix_probe_sets(row.probe_set for row in retention.probe_sets)
    return format_list(
        [
            f"`{row.probe_set}` {_format_estimate(row.after)}"
            for row in retention.probe_sets
            if row.probe_set in taught
        ]
    )


def _score_row(row: ProbeSetRetention, soup: "ModelSoup | None") -> dict[str, str]:
    cells = {when: _format_estimate(getattr(row, when)) for when in ("before", "learned", "after")}
    if soup is not None:
        cells["best"] = format_number(soup.best.em.get(row.probe_set))
        cells["average"] = format_number(soup.scores.em.get(row.probe_set))
    return {"name": f"`{row.probe_set}`", "n": format_number(row.n, 0), **cells}


def _format_estimate(estimate: Estimate) -> str:
    value = format_number(estimate.value)
    if estimate.low is None or estimate.high is None or estimate.low == estimate.high:
        return value
    return f"{value} ({format_number(estimate.low)} to {format_number(estimate.high)})"


def _forgetting_row(row: RelationLoss, labels: dict[str, str]) -> tuple[str, str, str, str]:
    share = format_number(100 * row.lost / row.once, 0)
    return (
        _escape_cell(labels.get(row.relation, row.relation)),
        format_number(row.once, 0),
        format_number(row.lost, 0),
        share,
    )


def _example_row(example: ForgottenProbe) -> dict[str, str]:
    return {
        "question": _escape_cell(example.question),
        "answer": _escape_cell(example.answers[0]),
        "predicted": _escape_cell(example.prediction),
    }


def _escape_cell(text: str) -> str:
    """Text that Markdown shows literally, also in a table cell."""
    plain = " ".join(text.split()).replace("|", "\\|")
    return f"`{plain}`" if set(plain) & set("<>*_[]`\\") else plain


def _training_rows(exported: "ExportedFolder", base: BaseModelInfo) -> Iterator[tuple[str, str]]:
    loaded = exported.loaded
    config = loaded.config
    yield "base model", f"`{base.name}`, license: {base.license or 'not stated in its card'}"
    yield "weights", loaded.label
    for name in SETTINGS:
        yield name, str(getattr(config, name))
    yield from _option_rows(registry.table_of(config.method), loaded.method.options)
    if config.load_in != "fp32":
        yield "base model in training", f"{config.load_in}; here the values of its weights"
    replay = registry.replay_of(config.replay, config.method)
    if replay != "none":
        yield "replay", replay
    if (table := registry.REPLAY[replay].table) != registry.table_of(config.method):
        yield from _option_rows(table, make_replay(config).options)
    yield "exported by", f"fki {__version__}"


def _option_rows(table: str, options: Options) -> Iterator[tuple[str, str]]:
    for name, value in options.model_dump().items() if table else ():
        if value not in (None, [], ()):
            yield f"{table}.{name}", ", ".join(value) if isinstance(value, list) else str(value)


def _check_rows(exported: "ExportedFolder") -> Iterator[tuple[str, str]]:
    parity = exported.parity
    counts = {"greedy": parity.same_answers, "best of 2 and of 4 beams": parity.same_beams}
    for decoding, same in counts.items():
        if same is not None:
            yield f"same answer, {decoding}", f"{same} of {parity.asked}"
    limit = f"tolerance {parity.tolerance:g}: {parity.reason}"
    yield (
        "largest difference of an answer's log-likelihood",
        f"{parity.largest_difference:.1g} nats ({limit})",
    )


def _parity_row(row: "ProbeSetParity") -> dict[str, Any]:
    return {
        "probe_set": f"`{row.probe_set}`",
        "n": format_number(row.n, 0),
        "recorded": format_number(row.recorded),
        "em": format_number(row.em),
        "differing": row.differing,
    }
