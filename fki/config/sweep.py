"""Many runs in one command: which cells a grid of methods and seeds has, and where each one goes.

A cell is the run that `fki train` makes with the same options, `--method` and `--seed`; so the
preset `<preset>_<method>` is taken where there is one (`presets.read_layers`).
"""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fki.config.renamed_settings import with_old_names
from fki.config.resolve import Layer, ResolvedConfig, resolve
from fki.config.schema import Config, location_settings, to_dict
from fki.core import registry
from fki.core.errors import ConfigError
from fki.core.paths import expand_path

ALL = "all"
MAX_CELLS = 1000  # cells of a grid; more is a seed that was taken for a count

ReadLayers = Callable[..., list[Layer]]
"""The layers of settings that the command line makes, with these flags laid over them."""


@dataclass(frozen=True, slots=True)
class SweepCell:
    """One run of a grid."""

    name: str  # of its folder: recadam-s1
    resolved: ResolvedConfig

    @property
    def config(self) -> Config:
        """Its settings."""
        return self.resolved.config

    @property
    def folder(self) -> Path:
        """Its run folder."""
        return expand_path(self.config.output_dir)


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """All cells of a grid, seed by seed, so that the methods can be compared early on."""

    folder: Path
    cells: tuple[SweepCell, ...]

    def partition(self, text: str) -> tuple[SweepCell, ...]:
        """The cells of one part of several: "2/3" has every third one, from the second on; "" all.

        Raises ConfigError for anything else.
        """
        if not text:
            return self.cells
        numbers = re.fullmatch(r"(\d+)/(\d+)", text.strip())
        i, n = (int(number) for number in numbers.groups()) if numbers else (0, 0)
        if not 1 <= i <= n:
            raise ConfigError(
                f"--partition must be i/n with i from 1 to n, such as 1/3, not '{text}'.",
                hint="Each of n processes is given another i.",
            )
        return self.cells[i - 1 :: n]


def plan_sweep(
    layers_of: ReadLayers, methods: str | None, seeds: str | None, presets: Sequence[str]
) -> SweepPlan:
    """The grid of these methods and seeds, every cell's settings checked.

    Args:
        methods: names with commas between them, or "all"; None: the settings' own.
        seeds: how many, from 0 on, or seeds with commas between them; None: the settings' own.
        presets: as the user named them, for the name of the folder.
    Raises:
        ConfigError: a method or seed that cannot be, or settings that cannot be used.
    """
    base = resolve(layers_of(), options_of=registry.options_of).config
    chosen = [{"method": name} for name in _parse_methods(methods)] if methods is not None else [{}]
    numbers = _parse_seeds(seeds) if seeds is not None else [base.seed]
    if len(chosen) * len(numbers) > MAX_CELLS:
        raise ConfigError(
            f"A grid has at most {MAX_CELLS} cells, not {len(chosen) * len(numbers)}.",
            hint=f"--seeds {seeds} is a count; one seed is --seed {seeds}.",
        )
    folder = expand_path(base.output_dir) if base.output_dir else _default_folder(base, presets)
    return SweepPlan(
        folder,
        tuple(_plan_cell(layers_of, folder, seed, method) for seed in numbers for method in chosen),
    )


def _plan_cell(layers_of: ReadLayers, folder: Path, seed: int, method: dict[str, str]) -> SweepCell:
    resolved = resolve(layers_of(**method, seed=seed), options_of=registry.options_of)
    name = f"{resolved.config.method}-s{seed}"
    places = {
        "output_dir": str(folder / name),
        "output_log": _cell_log(resolved.config.output_log, name),
    }
    config = resolved.config.model_copy(update=places)
    return SweepCell(
        name, ResolvedConfig(config, resolved.origins | {"output_dir": "grid"}, resolved.notes)
    )


def _cell_log(output_log: str, name: str) -> str:
    """A further copy of a cell's scores: in a folder of its own, or in a file with its name."""
    path = Path(output_log)
    if not output_log or not path.suffix:
        return output_log and str(path / name)
    return str(path.with_name(f"{path.stem}-{name}{path.suffix}"))


def _parse_methods(text: str) -> list[str]:
    names = registry.method_names() if text.strip() == ALL else _split_list(text)
    if not names:
        raise ConfigError(
            "--methods must be methods with commas between them, or all.",
            hint=f"Methods: {', '.join(registry.method_names())}",
        )
    return list(dict.fromkeys(registry.canonical_name(name)[0] for name in names))


def _parse_seeds(text: str) -> list[int]:
    """`3` is 0, 1, 2; `0,3,7` are those."""
    parts = _split_list(text)
    if not parts or not all(part.isdecimal() for part in parts) or text.strip() == "0":
        raise ConfigError(
            f"--seeds must be a count of at least 1, or seeds with commas between them, "
            f"not '{text}'.",
            hint="Such as --seeds 3 or --seeds 0,3,7",
        )
    numbers = [int(part) for part in parts]
    if "," in text:
        return list(dict.fromkeys(numbers))
    return list(range(min(numbers[0], MAX_CELLS + 1)))


def _split_list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _default_folder(base: Config, presets: Sequence[str]) -> Path:
    """runs/<presets>-<version>-<digest>: the same for the same settings, whatever the methods and
    seeds, so that a grid can grow."""
    own = {"method", "seed", *location_settings()}
    shared = {key: value for key, value in to_dict(base).items() if key not in own}
    text = json.dumps(with_old_names(shared), sort_keys=True, ensure_ascii=False)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    label = "-".join(Path(preset).stem for preset in presets)
    return Path("runs") / f"{label}-{base.dataset_version}-{digest}"
