"""The templates of HTML pages, with what their parts share: no network; light, dark and paper.

The only script sorts and filters tables; its hash is the only one that the page's content security
policy permits. The data of a page are links to be saved, without a script.
"""

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from fki import __version__
from fki.core.formatting import UNDEFINED, format_number, format_p_value
from fki.report.metric_roles import format_interval
from fki.report.recommendation import describe_seeds_needed
from fki.report.style import COLORS, legend_key
from fki.report.training_choice import CHOICE_COSTS, PURPOSES, choice_costs, describe_choice

TYPES = {".csv": "text/csv", ".json": "application/json"}


def render(template: str, title: str, downloads: Mapping[str, str], **content: Any) -> str:
    """The page of a template.

    Args:
        downloads: the content of files to be saved, by name.
        content: the variables of the template.
    Returns:
        HTML, byte for byte the same for the same input.
    """
    return (
        _templates()
        .get_template(template)
        .render(
            title=title,
            downloads=[(name, _address(name, text)) for name, text in downloads.items()],
            variables=[
                [(name, color.light) for name, color in COLORS.items()],
                [(name, color.dark) for name, color in COLORS.items()],
            ],
            version=__version__,
            script=_script(),
            script_hash=f"sha256-{b64encode(sha256(_script().encode()).digest()).decode()}",
            **content,
        )
    )


def _address(name: str, text: str) -> str:
    """A file inside the page."""
    kind = TYPES[name[name.rindex(".") :]]
    return f"data:{kind};charset=utf-8;base64,{b64encode(text.encode()).decode()}"


@cache
def _script() -> str:
    return files("fki.report").joinpath("templates/page.js").read_text(encoding="utf-8")


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("fki.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        interval=lambda *args, **kwargs: typeset(format_interval(*args, **kwargs)),
        choice_heads=CHOICE_COSTS,
        choice_costs=choice_costs,
        describe_choice=describe_choice,
        purpose_of=PURPOSES.get,
        seeds_needed=describe_seeds_needed,
        runs=lambda group: sum(len(arm.runs) for arm in group.arms),
        key_of=lambda group, name: legend_key([arm.name for arm in group.arms].index(name)),
    )
    environment.filters.update(
        number=lambda *args, **kwargs: typeset(format_number(*args, **kwargs)),
        p=format_p_value,
        question=format_prompt,
        setting=format_setting,
        sets=lambda rows: group_by(rows, "probe_set"),
        groupby_kind=lambda rows: group_by(rows, "kind"),
        signed=typeset,
    )
    return environment


def typeset(text: str) -> str:
    """With minus signs before numbers, and no line break before a percent sign."""
    return re.sub(r"(?<![\w-])-(?=\d)", "−", text).replace(" %", "\N{NO-BREAK SPACE}%")


def format_prompt(text: str) -> str:
    """The prompt with a blank where the model answers."""
    return re.sub(r"<extra_id_\d+>", "___", text)


def format_setting(value: Any) -> str:
    """A setting as in a preset; a list without brackets."""
    if value is None or value in ("", [], ()):
        return UNDEFINED
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def group_by(rows: Sequence[Any], field: str) -> Iterator[tuple[str, list[Any]]]:
    """The rows by the value of a field, in order."""
    for value in dict.fromkeys(getattr(row, field) for row in rows):
        yield value, [row for row in rows if getattr(row, field) == value]
