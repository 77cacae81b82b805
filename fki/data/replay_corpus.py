"""A file of old text for methods that rehearse it, read as examples."""

from pathlib import Path

from fki.core.errors import DataError
from fki.core.types import Example, Prompt
from fki.data.prompts import training_examples
from fki.data.row_files import SUFFIXES, Line, Problems, parse, raise_for
from fki.data.row_schema import fact_reader, text_of


def read_corpus(file: Path, prompt: Prompt) -> list[Example]:
    """The rows of a file of old text, dated or not, as examples in their order.

    A row is a fact, `prompt, target`, running `text`, or `input, output` as in the corpora of CKL:
    an input with sentinels and the target that belongs to it. Raises DataError for a missing file
    or a bad row.
    """
    if not file.is_file() or file.suffix not in SUFFIXES:
        raise DataError(
            f"The corpus {file} must be a .jsonl or .csv file that exists.",
            hint="A row is: subject, relation, object  or: prompt, target  or: text",
        )
    problems = Problems()
    read_fact = fact_reader({}, dated=False)

    def read(line: Line) -> list[Example]:
        name, values = f"corpus|{line.number}", line.values
        if "input" in values:
            return [Example(name, text_of(values, "input"), text_of(values, "output"))]
        if "text" in values:
            return [Example(name, text_of(values, "text"), "", is_text=True)]
        return training_examples(read_fact(line), prompt, period=name)

    examples = [e for row in parse(file, read, problems) for e in row]
    raise_for(problems, file)
    if not examples:
        raise DataError(f"The corpus {file} has no rows.")
    return examples
