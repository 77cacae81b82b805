"""The memory allocator of the C library during training."""

import ctypes
from contextlib import suppress

# parameters of mallopt(3), from glibc's malloc.h
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """Let glibc keep freed memory for the next step.

    By default glibc returns large blocks to the system when they are freed. Each optimizer step
    then faults the pages of its gradients and activations in again, on one thread. Has no effect
    with another C library.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(M_MMAP_MAX, 0)  # large blocks come from the heap
        mallopt(M_TRIM_THRESHOLD, -1)  # the heap never shrinks
