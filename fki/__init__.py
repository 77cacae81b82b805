"""Fast Knowledge Injection: keep a language model's knowledge of the world current.

The functions do what the commands of their names do; `import fki` alone imports none of the
libraries that they use.
"""

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fki.api import ask, compare, evaluate, export, load_dataset, train
    from fki.core.errors import (
        CannotFold,
        CheckFailed,
        ConfigError,
        DataError,
        FkiError,
        Interrupted,
        NotDownloaded,
        RunLocked,
    )
    from fki.core.types import RowScored, Step, Stream
    from fki.results import Answers, ComparisonResult, EvalResult, ExportResult, TrainResult

# on processors with bf16 instructions, it warns on import that an optional kernel is missing
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)

__version__ = "0.1.0"
__all__ = [
    "Answers",
    "CannotFold",
    "CheckFailed",
    "ComparisonResult",
    "ConfigError",
    "DataError",
    "EvalResult",
    "ExportResult",
    "FkiError",
    "Interrupted",
    "NotDownloaded",
    "RowScored",
    "RunLocked",
    "Step",
    "Stream",
    "TrainResult",
    "__version__",
    "ask",
    "compare",
    "evaluate",
    "export",
    "load_dataset",
    "train",
]
_MODULES = ("fki.core.errors", "fki.core.types", "fki.results", "fki.api")


def __getattr__(name: str) -> Any:
    """Import a public name when it is used (PEP 562)."""
    if name in __all__:
        for module in map(import_module, _MODULES):
            if hasattr(module, name):
                globals()[name] = found = getattr(module, name)
                return found
    raise AttributeError(f"module 'fki' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
