"""Teaches the base knowledge before `fki train`, whose run then starts from the taught model."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from fki.commands._console import Show
from fki.core.types import Step

if TYPE_CHECKING:
    from fki.commands._options import RunRequest
    from fki.training.session import Session


def with_taught_base(request: "RunRequest", show: Show) -> "RunRequest":
    """The request with the taught model in place of its own, where `teach_base` is set."""
    from fki.config.presets import without_method
    from fki.config.resolve import resolve
    from fki.core import registry

    if not _is_requested(request):
        return request
    plain = replace(request, presets=without_method(request.presets))
    layers = plain.read_layers(method="vanilla", seed=0)
    config = resolve(layers, options_of=registry.options_of).config

    from contextlib import ExitStack

    from fki.commands._progress import RunProgress
    from fki.core.paths import expand_path
    from fki.training.teach_base import teach_base

    with ExitStack() as stack:

        def begin(ready: "Session") -> Callable[[Step], None]:
            show.note(f"Teaching {config.model} the base knowledge of {ready.stream.name} first.")
            progress = stack.enter_context(RunProgress(show.err, ready.expected_steps))
            ready.evaluator.on_progress = progress.show_scoring
            return progress.show_step

        folder = expand_path(config.output_dir) if config.output_dir else None
        taught = teach_base(config, begin, folder if request.is_sweep else None)
    show.notes([taught.describe()])
    changes = {"model": str(taught.folder), "teach_base": False}
    return replace(request, flags=request.flags | changes)


def _is_requested(request: "RunRequest") -> bool:
    """Does the last layer that states `teach_base` turn it on?"""
    from pydantic import TypeAdapter, ValidationError

    stated = [layer.values for layer in request.read_layers() if "teach_base" in layer.values]
    try:
        return bool(stated) and TypeAdapter(bool).validate_python(stated[-1]["teach_base"])
    except ValidationError:
        return False  # the run's own check names it with all other faults
