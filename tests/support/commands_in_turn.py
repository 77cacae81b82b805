"""Run several command lines of fki in this process, one after another.

    python -m torch.distributed.run ... -m tests.support.commands_in_turn FILE

FILE has the arguments of each command as a JSON list. The first command that fails ends the others.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from fki.commands.app import leave_processes, main


def run_in_turn(commands: Sequence[Sequence[str]]) -> None:
    """Run each command, and leave the processes. Raises SystemExit for the first that fails."""
    for arguments in commands:
        try:
            main(list(arguments))
        except SystemExit as end:
            if end.code:
                raise
    leave_processes()


if __name__ == "__main__":
    run_in_turn(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
