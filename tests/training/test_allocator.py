"""A process that keeps freed memory does not fault its pages in again."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from fki.training.allocator import keep_freed_memory
import torch
if "kept" in sys.argv:
    keep_freed_memory()
for number in range(12):
    if number == 2:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**21)  # 8 MiB, or 2,048 pages
    torch.ones(2**24)  # 64 MiB, above every dynamic threshold
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def count_faults(*arguments: str) -> int:
    command = [sys.executable, "-c", PROGRAM, *arguments]
    return int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt belongs to glibc")
def test_kept_memory_is_not_faulted_in_again() -> None:
    kept, default = count_faults("kept"), count_faults()
    assert default > 10 * 16_000  # the pages of 64 MiB, in ten rounds
    assert kept < default / 2  # the heap grows in the first rounds
