"""The answers of a run whose weights are reset before each period, as two rows.

Row 0 has the answers before training, the other row those of each period right after it was
learned. All periods are one column.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from fki.core.probe_sets import ALONE, BASE
from fki.runs.outcomes import AnsweredCell, Answers, Outcomes, digest_cells

Members = Sequence[tuple[int, int]]  # of a joined cell: (row, number) of the cells in it


def join_outcomes(plain: Outcomes) -> Outcomes:
    """The outcomes with one column for all periods."""
    groups: dict[tuple[str, bool], list[tuple[int, int]]] = defaultdict(list)
    for t, after in enumerate(plain.rows):
        for number in plain.em[t]:
            cell = plain.cells[number]
            if cell.period == after:
                groups[cell.probe_set, cell.lasts].append((t, number))
    members = [*groups.values()]
    cells = tuple(
        _join_cells(key, [plain.cells[n] for _, n in group]) for key, group in groups.items()
    )
    rows = (BASE, ALONE)[: 1 + bool(plain.columns)]

    def read(name: str) -> Answers:
        return _join_answers(plain.answers(name), members)[: len(rows)]

    em = _join_answers(plain.em, members)[: len(rows)]
    digest = digest_cells(cells, em)
    return Outcomes(cells, digest, rows, rows[1:], em, plain.run, read=read)


def _join_cells(key: tuple[str, bool], cells: Sequence[AnsweredCell]) -> AnsweredCell:
    ids = tuple(id for cell in cells for id in cell.ids)
    subjects = tuple(subject for cell in cells for subject in cell.subjects)
    cases, relations = (
        tuple(name and f"{cell.period}|{name}" for cell in cells for name in cell.groups(within))
        for within in ("case", "relation")
    )
    return AnsweredCell(key[0], ALONE, key[1], ids, subjects, cases, relations)


def _join_answers(answers: Answers, members: Sequence[Members]) -> Answers:
    """A field of the answers before training, and of those right after."""
    before = {g: np.concatenate([answers[0][n] for _, n in m]) for g, m in enumerate(members)}
    learned = {g: np.concatenate([answers[t][n] for t, n in m]) for g, m in enumerate(members)}
    return before, learned
