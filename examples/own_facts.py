"""Teach the embedded model facts of your own, then ask for one: python examples/own_facts.py"""

import json
import tempfile
from pathlib import Path

import fki

MAYORS = {"Avalon": "Ada Lovell", "Brigadoon": "Ben Okri", "Camelot": "Cleo Hart"}

with tempfile.TemporaryDirectory() as scratch:
    dataset = Path(scratch) / "mayors"
    dataset.mkdir()
    with (dataset / "stream.jsonl").open("w", encoding="utf-8") as lines:
        for town, mayor in MAYORS.items():
            row = {"subject": town, "relation": "mayor", "object": mayor, "start": "2024-03-01"}
            lines.write(json.dumps(row) + "\n")

    print(fki.load_dataset(dataset), end="\n\n")
    result = fki.train(
        "t5_vanilla", dataset=dataset, output_dir=Path(scratch) / "run", num_train_epochs=40
    )
    print(result, end="\n\n")
    print(fki.ask(result.run_dir, "The mayor of Camelot is ___.", runners_up=2))
