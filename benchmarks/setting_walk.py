"""Follows the settings of `fki train` from the command to the training loop.

    python -m benchmarks.setting_walk [--package-path CHECKOUT]

The script runs `fki train` under a profiler until the trainer's loop begins. A stop is a module of
fki in which a function receives a settings value as an argument: a `Layer`, `Resolved` or `Config`,
a collection of them, or an object with such an attribute. `self` does not count. The script prints:

rooms   different modules among the stops, and different packages
climbs  stops that lie in a higher layer than the stop before, in the order of the layers below
depth   largest number of such modules on the call stack at one time
names   different names of the parameters that receive a settings value

`--package-path` measures another checkout, such as an earlier version.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from types import FrameType
from typing import Any

SETTINGS = {"Layer", "Resolved", "Config"}
LOOPS = {"train_period", "learn"}  # the second one of version 0.1
LAYERS = (  # from below to above, of this tree and of version 0.1
    {"core"},
    {"config", "net"},
    {"data", "metrics", "methods", "replay", "sources", "modeling"},
    {"engine", "runs", "evaluation", "training", "comparison", "exporting"},
    {"report", "api", "results", "inference"},
    {"commands", "cli"},
)


class LoopReached(BaseException):
    """The trainer's loop has begun."""


def holds_settings(value: Any, depth: int = 1) -> bool:
    """Is this a settings value, a collection of them, or an object with one as an attribute?"""
    if type(value).__name__ in SETTINGS and type(value).__module__.startswith("fki."):
        return True
    if isinstance(value, list | tuple):
        return any(holds_settings(item, 0) for item in value[:3])
    if depth and type(value).__module__.startswith("fki."):
        attributes = [*getattr(value, "__dict__", {}).values()]
        attributes += [getattr(value, name, None) for name in getattr(value, "__slots__", ())]
        return any(holds_settings(attribute, 0) for attribute in attributes)
    return False


class Walk:
    """The stops of the settings, recorded by a profile function."""

    def __init__(self) -> None:
        self.stops: list[str] = []
        self.names: set[str] = set()
        self.depth = 0

    def profile(self, frame: FrameType, event: str, _: object) -> None:
        """Record a call that receives a settings value; end the walk at the loop."""
        if event != "call":
            return
        module = str(frame.f_globals.get("__name__"))
        if not module.startswith("fki."):
            return
        if module.endswith(".trainer") and frame.f_code.co_name in LOOPS:
            raise LoopReached
        names = settings_arguments(frame)
        if not names:
            return
        self.names |= names
        if self.stops[-1:] != [module]:
            self.stops.append(module)
        self.depth = max(self.depth, len({*stack_modules(frame)}))

    @property
    def climbs(self) -> int:
        """Stops in a higher layer than the stop before."""
        layers = [layer_of(stop) for stop in self.stops]
        return sum(after > before for before, after in pairwise(layers))


def settings_arguments(frame: FrameType) -> set[str]:
    """The names of a frame's arguments that are settings values."""
    code = frame.f_code
    arguments = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    values = {name: frame.f_locals.get(name) for name in arguments if name not in ("self", "cls")}
    return {name for name, value in values.items() if holds_settings(value)}


def stack_modules(frame: FrameType | None) -> Iterator[str]:
    """The modules of the frames on the stack that received a settings value."""
    while frame is not None:
        module = str(frame.f_globals.get("__name__"))
        if module.startswith("fki.") and settings_arguments(frame):
            yield module
        frame = frame.f_back


def layer_of(module: str) -> int:
    """The number of a module's layer."""
    package = module.split(".")[1]
    return next(i for i, packages in enumerate(LAYERS) if package in packages)


def run_command(arguments: list[str]) -> None:
    """Run one command line until it ends or the trainer's loop begins."""
    try:
        from fki.commands.app import main
    except ImportError:
        from fki.cli import main  # type: ignore[import-not-found, no-redef] # version 0.1
    with suppress(LoopReached, SystemExit):
        main(arguments)


def follow(arguments: list[str]) -> Walk:
    """The walk of the settings of one command line."""
    walk = Walk()
    sys.setprofile(walk.profile)
    try:
        run_command(arguments)
    finally:
        sys.setprofile(None)
    return walk


def measure() -> Walk:
    """The walk of `fki train` on the embedded data and model, in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"FKI_HOME": f"{folder}/home", "HF_HUB_OFFLINE": "1"}
        os.chdir(folder)
        arguments = ["--preset", "t5_vanilla", "--set", "max_periods=1"]
        run_command(["download", "wiki"])
        walk = follow(["train", *arguments])
        os.chdir("/")
        return walk


def main() -> None:
    """Print the measures of the walk."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--package-path", help="a checkout with another version of fki")
    if path := parser.parse_args().package_path:
        sys.path.insert(0, os.path.abspath(path))
    walk = measure()
    rooms = [*dict.fromkeys(walk.stops)]
    packages = [*dict.fromkeys(room.split(".")[1] for room in rooms)]
    print("stops: ", " > ".join(stop.removeprefix("fki.") for stop in walk.stops), file=sys.stderr)
    print("names: ", ", ".join(sorted(walk.names)), file=sys.stderr)
    print(f"rooms   {len(rooms)} modules in {len(packages)} packages")
    print(f"climbs  {walk.climbs}")
    print(f"depth   {walk.depth}")
    print(f"names   {len(walk.names)}")


if __name__ == "__main__":
    main()
