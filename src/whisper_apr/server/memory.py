"""Let the C library give memory back that requests no longer use."""

import os
from contextlib import suppress

# parameters of glibc's mallopt(3), from malloc.h
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
M_ARENA_MAX = -8

LARGE = 4 << 20  # bytes: the work of one recording, such as its spectrogram or KV cache, but not one token's logits
SETTINGS = {M_ARENA_MAX: 1, M_MMAP_THRESHOLD: LARGE, M_TRIM_THRESHOLD: 2 * LARGE}
VARIABLES = ("MALLOC_ARENA_MAX", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")


def limit_unused_memory() -> bool:
    """Limit the memory that glibc keeps for later; other C libraries, and settings in the environment, are left alone.

    Call it before threads are started. By default glibc gives each thread an arena, up to eight for each CPU, whose
    free memory no other thread uses; and once an array of up to 32 MiB is freed, arrays of that size come from arenas
    instead of from the system, which gets their memory back only if nothing after them is in use (mallopt(3),
    M_ARENA_MAX and M_MMAP_THRESHOLD). The server's threads allocate while they hold Python's lock, so that one arena
    for all of them does not make them wait.

    Returns:
        Whether the limits hold.
    """
    if any(name in os.environ for name in VARIABLES):
        return False
    # there is no mallopt, no library without a name (on Windows), or no ctypes (an extension that some systems lack)
    with suppress(AttributeError, ImportError, OSError, TypeError):
        import ctypes

        mallopt = ctypes.CDLL(None).mallopt
        accepted = [mallopt(name, value) for name, value in SETTINGS.items()]
        return all(accepted)
    return False
