"""All readers, by name: a further dataset of the field is one Reader and one word here."""

from fki.sources.benchmarks.base import Benchmark
from fki.sources.benchmarks.ckl import CKL
from fki.sources.benchmarks.dated import CFINJECTBENCH, TEMPLAMA
from fki.sources.benchmarks.dated_questions import (
    FRESHQA,
    PAT_QUESTIONS,
    REALTIMEQA,
    SITUATEDQA,
    STREAMINGQA,
)
from fki.sources.benchmarks.edits import COUNTERFACT, ZSRE
from fki.sources.benchmarks.knowedit import KNOWEDIT
from fki.sources.benchmarks.mquake import MQUAKE
from fki.sources.benchmarks.rippleedits import RIPPLEEDITS
from fki.sources.benchmarks.temporalwiki import TEMPORALWIKI
from fki.sources.benchmarks.undated import LAMA, POPQA
from fki.sources.benchmarks.wikibigedit import WIKIBIGEDIT

BENCHMARKS: dict[str, Benchmark] = {
    reader.name: reader
    for reader in (
        *(CKL, TEMPORALWIKI, CFINJECTBENCH, TEMPLAMA),
        *(LAMA, POPQA),
        *(ZSRE, COUNTERFACT, KNOWEDIT, MQUAKE, RIPPLEEDITS, WIKIBIGEDIT),
        *(PAT_QUESTIONS, REALTIMEQA, FRESHQA, SITUATEDQA, STREAMINGQA),
    )
}
