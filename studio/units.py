"""The few physical constants that more than one module needs."""

from typing import Final

RATE_HZ: Final = 48_000
"""The sample rate of everything the studio makes and keeps."""

TARGET_LUFS: Final = -14.0
"""Integrated loudness of a finished Song (ITU-R BS.1770-5), as the large streaming services play it."""

CEILING_DBTP: Final = -1.0
"""Highest true peak of a finished Song (ITU-R BS.1770-5 annex 2, 4x oversampled)."""

SEED_MAX: Final = 2**31 - 1
"""Largest seed: fits a signed 32-bit integer, as the model engines want."""
