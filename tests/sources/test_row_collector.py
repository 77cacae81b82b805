"""The row collector accepts what `read_folder` accepts and counts everything else."""

import tracemalloc

from fki.sources.row_collector import CONTROL, DUPLICATE, EMPTY, RESERVED, RowCollector


def test_what_is_kept_is_not_in_memory() -> None:
    kept, text = RowCollector(), "word " * 200
    tracemalloc.start()
    for number in range(5000):
        kept.add_document(f"{text}{number}", "2021")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(kept.tables["stream"]) == 5000 and most < 5000 * len(text) / 5


def test_what_our_rows_do_not_take_is_counted_with_the_reason() -> None:
    kept = RowCollector()
    kept.add_fact("stream", "Eden", "head", "Ann", start="2021")
    kept.add_fact("stream", "Eden", "head", "Ann", start="2021")
    kept.add_fact("stream", "Eden", "", "Ann", start="2021")
    kept.add_prompt("stream", "Eden has <extra_id_0>.", ["<extra_id_1>"], date="2021")
    kept.add_document("word", "2021")
    kept.add_document("two words", "2021", title="<extra_id_3>")
    kept.add_prompt("probes/mine", "Eden has", ["Ann"], relation="half a pair: \ud800")
    kept.add_fact("stream", "Eden\x00", "head", "Ann", start="2021")
    kept.add_prompt("stream", "Eden has", ["Ann", "B\x1b[31mo"], date="2021")
    kept.add_document("two\x7f words", "2021")
    assert not kept.check_prompt("stream", "Eden\x9b has", "Ann")
    kept.drop("stream", "no date")
    assert kept.dropped == {
        f"stream: {DUPLICATE}": 1,
        f"stream: {EMPTY}": 1,
        f"stream: {RESERVED}": 3,
        f"probes/mine: {RESERVED}": 1,
        f"stream: {CONTROL}": 4,
        "stream: no date": 1,
    }
    assert len(kept.tables["stream"]) == 1
