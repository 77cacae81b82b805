"""Known datasets: one table, which the benchmarks' readers complete."""

from fki.data.known_datasets import KNOWN_DATASETS
from fki.sources.benchmarks.registry import BENCHMARKS


def test_every_known_dataset_ships_with_fki_or_has_a_reader() -> None:
    assert {*KNOWN_DATASETS} == {"wiki", *BENCHMARKS}


def test_a_known_dataset_has_the_command_that_downloads_it() -> None:
    assert KNOWN_DATASETS["wiki"].command == "fki download wiki"
    assert KNOWN_DATASETS["ckl"].command == "fki download ckl --from FOLDER"
    assert KNOWN_DATASETS["popqa"].command == "fki download popqa --from hub:akariasai/PopQA"
