"""Golden files: texts by key in one file, compared or, with UPDATE_GOLDEN=1, rewritten."""

import os
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "golden"
MARK = "$ "  # begins the line of a key
IS_UPDATE = bool(os.environ.get("UPDATE_GOLDEN"))


class Golden:
    """The texts of one golden file by their keys."""

    def __init__(self, name: str, keys: Sequence[str]) -> None:
        """`keys`: all keys of the file, in its order."""
        self.file, self.keys = FOLDER / name, keys
        stored = read_golden(self.file)
        self.texts = {key: stored[key] for key in keys if key in stored} if IS_UPDATE else stored

    def check(self, key: str, text: str) -> None:
        """Compare a text with the file's, or store it on an update."""
        text = "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")
        if IS_UPDATE:
            self.texts[key] = text
        assert self.texts.get(key) == text, "To accept: UPDATE_GOLDEN=1 with the same tests"

    def write(self) -> None:
        """Write the file on an update; keys that no longer exist are dropped."""
        if IS_UPDATE:
            parts = [f"{MARK}{key}\n{self.texts[key]}\n" for key in self.keys if key in self.texts]
            self.file.write_text("\n".join(parts), encoding="utf-8")


def read_golden(file: Path) -> dict[str, str]:
    """The texts of a golden file; none if it does not exist yet."""
    texts: dict[str, list[str]] = {}
    key = ""
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        if line.startswith(MARK):
            key = line.removeprefix(MARK)
            texts[key] = []
        else:
            texts[key].append(line)
    return {key: "\n".join(lines).strip("\n") for key, lines in texts.items()}
