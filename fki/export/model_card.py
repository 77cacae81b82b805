"""The card of an exported folder: what it knows and forgot, where it comes from, how to load it."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, PackageLoader, StrictUndefined

from fki import __version__
from fki.comparison.retention import Retention, read_retention
from fki.comparison.types import Estimate
from fki.core import registry
from fki.core.atomic_io import write_text
from fki.core.errors import DataError
from fki.core.formatting import escape_pipes, format_list, format_number
from fki.core.probe_sets import PROBE_SETS
from fki.export.provenance import (
    BaseModelInfo,
    TrainingData,
    describe_base,
    describe_data,
    read_relation_labels,
)

if TYPE_CHECKING:
    from fki.export.export import ExportedFolder
    from fki.export.model_soup import ModelSoup
    from fki.runs.open_run import LoadedModel

CARD = "README.md"
MAX_RELATIONS = 8  # relations that the first paragraph names
SETTINGS = (
    "learning_rate",
    "optimizer",
    "num_train_epochs",
    "train_batch_size",
    "freeze_level",
    "seed",
)


def write_card(shipped: "ExportedFolder", place: str, soup: "ModelSoup | None" = None) -> None:
    """README.md in the folder.

    Args:
        place: what a reader will call the folder: its name, or `owner/name`.
    """
    write_text(shipped.folder / CARD, render_card(shipped, place, soup))


def render_card(shipped: "ExportedFolder", place: str, soup: "ModelSoup | None" = None) -> str:
    """Markdown with a front matter that the Hub reads."""
    opened = shipped.opened
    base, data, told, labels = _collect_facts(opened)
    loading = shipped.form.loading
    text = _load_template().render(
        title=Path(place).name,
        place=place,
        base=base,
        data=data,
        method=opened.config.method,
        idea=_method_summary(opened.config.method),
        averaged=opened.label if opened.averaged else "",
        relations=_list_relations(data),
        loading=loading(shipped.folder, place) if loading else "",
        has_code=(shipped.folder / "modeling_fki.py").is_file(),
        prompt=opened.config.prompt_format,
        question=_first_question(shipped),
        kept=[_score_row(one, soup) for one in told.probe_sets],
        meanings=[
            (one.probe_set, PROBE_SETS[one.probe_set].meaning)
            for one in told.probe_sets
            if one.probe_set in PROBE_SETS
        ],
        losses=[_forgetting_row(one, labels) for one in told.losses[:5]] if soup is None else [],
        examples=[_example_row(one) for one in told.examples],
        made=[*_training_rows(shipped, base)],
        runtime=shipped.form.runtime,
        precision=shipped.form.precision,
        checks=[*_check_rows(shipped)],
        again=[_parity_row(one) for one in shipped.parity.probe_sets],
        files=shipped.files.items(),
    )
    return f"---\n{build_metadata(shipped, base, data, told, place).to_yaml()}\n---\n\n{text}"


def build_metadata(
    shipped: "ExportedFolder", base: BaseModelInfo, data: TrainingData, told: Retention, place: str
) -> ModelCardData:
    """What the Hub reads: licence, base, tags, and exact match by probe set."""
    method = shipped.opened.config.method
    results = [
        EvalResult(
            task_type="question-answering",
            dataset_type=data.name,
            dataset_name=data.name,
            dataset_config=one.probe_set,
            metric_type="exact_match",
            metric_value=round(one.em, 2),
        )
        for one in shipped.parity.probe_sets
    ]
    extra: dict[str, Any] = {"base_model": base.name} if base.on_the_hub else {}
    return ModelCardData(
        license=base.licence or None,
        language="en",
        library_name=shipped.form.library,
        tags=["t5", "knowledge-injection", "fki", method],
        model_name=Path(place).name,
        eval_results=results or None,
        **extra,
    )


def _collect_facts(
    opened: "LoadedModel",
) -> tuple[BaseModelInfo, TrainingData, Retention, dict[str, str]]:
    """What the run, its base and its data tell. Raises DataError where they cannot be read."""
    assert opened.run is not None
    try:
        told = read_retention(opened.run, opened.checkpoint)
        return describe_base(opened), describe_data(opened), told, read_relation_labels(opened)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"A file in {opened.run.folder} is not as fki writes it: {error!r}."
        ) from error


def _load_template() -> Any:
    environment = Environment(
        loader=PackageLoader("fki.export"), undefined=StrictUndefined, trim_blocks=False
    )
    return environment.get_template("card.md")


def _method_summary(method: str) -> str:
    text = registry.summary_of(method)
    return text[0].lower() + text[1:]


def _list_relations(data: TrainingData) -> str:
    names = [name for name, _ in data.relations]
    left = len(names) - MAX_RELATIONS
    return format_list([*names[:MAX_RELATIONS], *([f"{left} more"] if left > 0 else [])])


def _first_question(shipped: "ExportedFolder") -> str:
    """One that the run was asked."""
    assert shipped.opened.run is not None
    row = next(shipped.opened.run.read_lines("probes.jsonl"))
    return str(row["source"])


def _score_row(one: Any, soup: "ModelSoup | None") -> dict[str, str | int]:
    cells = {when: _format_estimate(getattr(one, when)) for when in ("before", "learned", "after")}
    if soup is not None:
        cells["best"] = format_number(soup.best.em.get(one.probe_set))
        cells["average"] = format_number(soup.taste.em.get(one.probe_set))
    return {"name": f"`{one.probe_set}`", "n": format_number(one.n, 0), **cells}


def _format_estimate(found: Estimate) -> str:
    value = format_number(found.value)
    if found.low is None or found.high is None or found.low == found.high:
        return value
    return f"{value} ({format_number(found.low)} to {format_number(found.high)})"


def _forgetting_row(one: Any, labels: dict[str, str]) -> tuple[str, str, str, str]:
    share = format_number(100 * one.lost / one.once, 0)
    return (
        _escape_cell(labels.get(one.relation, one.relation)),
        format_number(one.once, 0),
        format_number(one.lost, 0),
        share,
    )


def _example_row(one: Any) -> dict[str, str]:
    return {
        "question": _escape_cell(one.question),
        "answers": _escape_cell(one.answers[0]),
        "said": _escape_cell(one.prediction),
    }


def _escape_cell(text: str) -> str:
    """A text that is nothing but a text in Markdown, and in a table."""
    plain = escape_pipes(" ".join(text.split()))
    return f"`{plain}`" if set(plain) & set("<>*_[]`\\") else plain


def _training_rows(shipped: "ExportedFolder", base: BaseModelInfo) -> Iterator[tuple[str, str]]:
    opened = shipped.opened
    config = opened.config
    assert opened.run is not None
    licence = base.licence or "unknown here"
    yield "base model", f"`{base.name}`, licence: {licence}"
    yield "weights", opened.label
    for name in SETTINGS:
        yield name, str(getattr(config, name))
    table = registry.table_of(config.method)
    for name, value in opened.method.options.model_dump().items() if table else ():
        if value not in (None, [], ()):
            yield f"{table}.{name}", ", ".join(value) if isinstance(value, list) else str(value)
    yield "made with", f"fki {__version__}"


def _check_rows(shipped: "ExportedFolder") -> Iterator[tuple[str, str]]:
    parity = shipped.parity
    said = {"greedy": parity.same_answers, "the best of 2 and of 4 beams": parity.same_beams}
    for how, same in said.items():
        if same is not None:
            yield f"the same answer, {how}", f"{same} of {parity.asked}"
    most = f"at most {parity.tolerance:g}: {parity.reason}"
    yield (
        "largest difference of an answer's log-likelihood",
        f"{parity.largest_difference:.1g} nats ({most})",
    )


def _parity_row(one: Any) -> dict[str, Any]:
    return {
        "probe_set": f"`{one.probe_set}`",
        "n": format_number(one.n, 0),
        "recorded": format_number(one.recorded),
        "em": format_number(one.em),
        "differing": one.differing,
    }
