"""The file of a `gguf` folder: its name, the library that writes it, and what all models share."""

from typing import Any

from fki.core.optional import describe_library_install
from fki.exporting.formats.base import import_library

gguf: Any = import_library("gguf", extra="gguf", hint=describe_library_install("gguf>=0.17"))

FILE = "model.gguf"


def finish_file(writer: Any) -> None:
    """Write everything that was added, and close the file."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
