"""Reads a replay corpus: old text that rehearsal methods mix into the training data."""

from pathlib import Path

from fki.core.errors import DataError
from fki.core.types import Example, PromptFormat
from fki.data.prompts import training_examples
from fki.data.row_files import ROW_SUFFIXES, Row, RowProblems, parse_rows, raise_for_problems
from fki.data.row_schema import fact_reader, get_text


def read_corpus(file: Path, prompt: PromptFormat) -> list[Example]:
    """The rows of a replay corpus, dated or not, as examples in their order.

    A row is a fact, `prompt, target`, running `text`, or `input, output` as in the corpora of CKL:
    an input with sentinels and its target. Raises DataError for a missing file or a bad row.
    """
    if not file.is_file() or file.suffix not in ROW_SUFFIXES:
        raise DataError(
            f"The corpus {file} must be an existing .jsonl or .csv file.",
            hint="A row is: subject, relation, object  or: prompt, target  or: text",
        )
    problems = RowProblems()
    read_fact = fact_reader({}, dated=False)

    def read(line: Row) -> list[Example]:
        name, values = f"corpus|{line.number}", line.values
        if "input" in values:
            return [Example(name, get_text(values, "input"), get_text(values, "output"))]
        if "text" in values:
            return [Example(name, get_text(values, "text"), "", is_text=True)]
        return training_examples(read_fact(line), prompt, period=name)

    examples = [e for row in parse_rows(file, read, problems) for e in row]
    raise_for_problems(problems, file)
    if not examples:
        raise DataError(f"The corpus {file} has no rows.")
    return examples
