"""How the studio's sample loops are compiled."""

from typing import Final

import numba

kernel: Final = numba.njit(cache=True, nogil=True, error_model="numpy")
"""Compiles a sample loop once per machine (numba's cache) and lets other threads run meanwhile.

Fast-math stays off: the same Score must give the same bits whatever the compiler fancies.
"""
