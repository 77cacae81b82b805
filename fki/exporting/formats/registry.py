"""The export formats by name, without importing them: their libraries are heavy and optional."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fki.core.errors import ConfigError

if TYPE_CHECKING:
    from fki.exporting.formats.base import Format

FORMATS = {  # name: module and attribute of its Format
    "hf": "fki.exporting.formats.hf:HF",
    "peft": "fki.exporting.formats.peft:PEFT",
    "onnx": "fki.exporting.formats.onnx:ONNX",
    "ctranslate2": "fki.exporting.formats.ctranslate2:FLOAT32",
    "ctranslate2_int8": "fki.exporting.formats.ctranslate2:INT8",
    "gguf": "fki.exporting.formats.gguf:GGUF",
}
DTYPES = ("float32", "bfloat16", "float16")


def load_format(name: str, **options: Any) -> "Format":
    """Import a format together with the libraries that write and read it.

    Args:
        name: a key of `FORMATS`.
        options: options of the format, such as `dtype`; None stands for the default.
    Raises:
        ConfigError: the format is unknown, does not have an option, or needs a library that is not
            installed.
    """
    if name not in FORMATS:
        raise ConfigError(f"Format '{name}' not found. Formats: {', '.join(FORMATS)}.")
    module, _, attribute = FORMATS[name].partition(":")
    export_format: Format = getattr(import_module(module), attribute)
    stated = {key: value for key, value in options.items() if value is not None}
    if not stated:
        return export_format
    if export_format.with_options is None:
        flags = ", ".join(f"--{key.replace('_', '-')}" for key in stated)
        raise ConfigError(f"--to {name} does not support {flags}.", hint="Try: --to hf")
    return export_format.with_options(**stated)
