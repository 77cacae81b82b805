"""Sweeps: one run for each method and seed, and the folder of each run.

A cell of a sweep equals the run of `fki train` with the same options, `--method` and `--seed`. So
the preset `<preset>_<method>` is used if it exists (`presets.read_layers`).
"""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fki.config.renamed_settings import ADDED, with_old_names
from fki.config.resolve import Layer, ResolvedConfig, resolve
from fki.config.schema import Config, folder_name, location_settings, to_dict
from fki.core import registry
from fki.core.errors import ConfigError
from fki.core.paths import expand_path
from fki.core.types import CAUSAL_FORMATS

ALL, BOUNDS = "all", "bounds"  # in place of methods
MAX_CELLS = 1000  # a higher number is usually a seed that was given as a count

ReadLayers = Callable[..., list[Layer]]
"""Returns the layers of settings of the command line, with these flags on top."""


@dataclass(frozen=True, slots=True)
class SweepCell:
    """One run of a sweep."""

    name: str  # of the run's folder, such as recadam-s1
    resolved: ResolvedConfig

    @property
    def config(self) -> Config:
        """The settings of the run."""
        return self.resolved.config

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        return expand_path(self.config.output_dir)


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """All cells of a sweep, ordered by seed, so that methods can be compared early."""

    folder: Path
    cells: tuple[SweepCell, ...]

    def partition(self, text: str) -> tuple[SweepCell, ...]:
        """The cells of one partition: "2/3" is every third cell from the second on; "" is all.

        Raises ConfigError for any other text.
        """
        if not text:
            return self.cells
        numbers = re.fullmatch(r"(\d+)/(\d+)", text.strip())
        i, n = (int(number) for number in numbers.groups()) if numbers else (0, 0)
        if not 1 <= i <= n:
            raise ConfigError(
                f"--partition must be I/N with I from 1 to N, such as 1/3, not '{text}'.",
                hint="Start N processes, each with a different I.",
            )
        return self.cells[i - 1 :: n]


def plan_sweep(
    layers_of: ReadLayers, methods: str | None, seeds: str | None, presets: Sequence[str]
) -> SweepPlan:
    """Plan the sweep of these methods and seeds, and validate the settings of each cell.

    Args:
        methods: comma-separated names; "all" stands for all methods but the bounds, "bounds" for
            these. None: the method of the settings.
        seeds: a count, or comma-separated seeds. None: the seed of the settings.
        presets: as given by the user, for the name of the folder.
    Raises:
        ConfigError: an unknown method, an invalid seed, or invalid settings.
    """
    base = resolve(layers_of(), options_of=registry.options_of).config
    is_decoder = base.prompt_format in CAUSAL_FORMATS
    names = None if methods is None else _parse_methods(methods, is_decoder=is_decoder)
    chosen = [{}] if names is None else [{"method": name} for name in names]
    numbers = _parse_seeds(seeds) if seeds is not None else [base.seed]
    if len(chosen) * len(numbers) > MAX_CELLS:
        raise ConfigError(
            f"A sweep has at most {MAX_CELLS} runs, not {len(chosen) * len(numbers)}.",
            hint=f"--seeds {seeds} is a count. For one seed: --seed {seeds}",
        )
    folder = expand_path(base.output_dir) if base.output_dir else _default_folder(base, presets)
    return SweepPlan(
        folder,
        tuple(_plan_cell(layers_of, folder, seed, method) for seed in numbers for method in chosen),
    )


def _plan_cell(layers_of: ReadLayers, folder: Path, seed: int, method: dict[str, str]) -> SweepCell:
    resolved = resolve(layers_of(**method, seed=seed), options_of=registry.options_of)
    name = f"{folder_name(resolved.config.arm)}-s{seed}"
    places = {
        "output_dir": str(folder / name),
        "output_log": _cell_log(resolved.config.output_log, name),
    }
    config = resolved.config.model_copy(update=places)
    return SweepCell(
        name, ResolvedConfig(config, resolved.origins | {"output_dir": "grid"}, resolved.notes)
    )


def _cell_log(output_log: str, name: str) -> str:
    """The path for the additional copy of a cell's scores, with the cell's name in it."""
    path = Path(output_log)
    if not output_log or not path.suffix:
        return output_log and str(path / name)
    return str(path.with_name(f"{path.stem}-{name}{path.suffix}"))


def _parse_methods(text: str, *, is_decoder: bool) -> list[str]:
    bounds = registry.bound_names()
    unfit = registry.encoder_methods() if is_decoder else []
    others = [name for name in registry.method_names() if name not in (*bounds, *unfit)]
    groups = {ALL: others, BOUNDS: bounds}
    names = [name for part in _split_list(text) for name in groups.get(part, [part])]
    if not names:
        raise ConfigError(
            "--methods must be comma-separated methods, all or bounds.",
            hint=f"Methods: {', '.join(others)}; bounds: {', '.join(bounds)}",
        )
    known = (
        name if name == registry.INITIAL else registry.canonical_name(name)[0] for name in names
    )
    return list(dict.fromkeys(known))


def _parse_seeds(text: str) -> list[int]:
    """Parse a count (`3` is 0, 1, 2) or a list (`0,3,7`)."""
    parts = _split_list(text)
    if not parts or not all(part.isdecimal() for part in parts) or text.strip() == "0":
        raise ConfigError(
            f"--seeds must be a count of at least 1 or comma-separated seeds, not '{text}'.",
            hint="Such as --seeds 3 or --seeds 0,3,7",
        )
    numbers = [int(part) for part in parts]
    if "," in text:
        return list(dict.fromkeys(numbers))
    return list(range(min(numbers[0], MAX_CELLS + 1)))


def _split_list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _default_folder(base: Config, presets: Sequence[str]) -> Path:
    """runs/<presets>-<version>-<digest>, which depends neither on methods nor on seeds.

    So the same command with more methods or seeds extends the sweep.
    """
    own = {"method", "seed", *location_settings()}
    default = to_dict(Config())
    own |= {key for key in ADDED if getattr(base, key) == default[key]}  # as if it were not there
    shared = {key: value for key, value in to_dict(base).items() if key not in own}
    text = json.dumps(with_old_names(shared), sort_keys=True, ensure_ascii=False)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    label = "-".join(Path(preset).stem for preset in presets)
    return Path("runs") / f"{label}-{base.dataset_version}-{digest}"
