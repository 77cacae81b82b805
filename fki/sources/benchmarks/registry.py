"""All readers, by name: a further dataset of the field is one Reader and one word here."""

from fki.sources.benchmarks.base import Benchmark
from fki.sources.benchmarks.ckl import CKL
from fki.sources.benchmarks.dated import CFINJECTBENCH, TEMPLAMA
from fki.sources.benchmarks.edits import COUNTERFACT, ZSRE
from fki.sources.benchmarks.temporalwiki import TEMPORALWIKI
from fki.sources.benchmarks.undated import LAMA, POPQA

BENCHMARKS: dict[str, Benchmark] = {
    reader.name: reader
    for reader in (CKL, TEMPORALWIKI, CFINJECTBENCH, LAMA, ZSRE, COUNTERFACT, POPQA, TEMPLAMA)
}
