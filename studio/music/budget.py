"""Budget: how many bars a song of exact length has, and what fits into them.

Composing is done at a comfortable pulse of 55-165 beats a minute: a very slow song is written in half bars and a very
fast one in double bars (`Budget.factor`), so that no player ever has to think in unplayable notes.
"""

import math
from dataclasses import dataclass
from typing import Final

RING_S: Final = 2.0
"""The final chord has at least this long to ring out; in a song under 17 s less."""
_RING_SHARE: Final = 0.12
SYLLABLE_S: Final = 0.17
"""Nobody sings faster than this for long."""
_BREATH_BEATS: Final = 1.2
_SLOW_BAR_S: Final = 240.0 / 84.0
_BRISK_BAR_S: Final = 2.2
"""Bars longer than this hold a whole lyric line: the first as a rule, the second where a song has to be brief."""
_BRIEF_S: Final = 35.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The bars of a song, as the composer counts them.

    Attributes:
        duration_s: exact length of the song.
        factor: beats of the score per beat of composing: 0.5, 1 or 2.
        bar_s: seconds of one composing bar of four beats.
        bars: composing bars in all; the last ``tail`` of them hold the final chord, which rings to the end.
        tail: also the step in which bars are counted: sections are multiples of it.
        line_bars: bars of an ordinary lyric line of about eight syllables.
    """

    duration_s: float
    factor: float
    bar_s: float
    bars: int
    tail: int
    line_bars: int

    @property
    def body(self) -> int:
        """Bars before the final chord."""
        return self.bars - self.tail

    def whole(self, bars: float) -> int:
        """``bars`` rounded up to the step in which bars are counted."""
        return math.ceil(bars / self.tail) * self.tail

    def nearest(self, seconds: float) -> int:
        """The power of two of bars (or none) that lasts about ``seconds``."""
        ratio = seconds / self.bar_s
        return 0 if ratio < 0.7 else self.whole(2 ** round(math.log2(ratio)))

    @property
    def unit(self) -> int:
        """Bars of an ordinary section without words."""
        return max(2, self.nearest(18.0 + self.duration_s / 40.0))

    @property
    def opening(self) -> int:
        """Bars of an ordinary introduction, and of what leads to the final chord."""
        bars = self.nearest(min(10.0, 0.08 * self.duration_s))
        return bars if bars * self.bar_s <= 0.14 * self.duration_s else 0

    def bars_of_line(self, syllables: int) -> int:
        """Bars that a line of so many syllables takes, its breath included."""
        beat_s = self.bar_s / 4
        needed_beats = syllables * max(0.25, SYLLABLE_S / beat_s) + _BREATH_BEATS
        bars = self.line_bars
        while bars * 4 < needed_beats:
            bars *= 2
        return bars


def bar_budget(duration_s: float, tempo_bpm: float) -> Budget:
    """Bars for a song of exactly ``duration_s`` (10-600 s) at ``tempo_bpm`` (30-300)."""
    factor = 0.5 if tempo_bpm < 55 else 2.0 if tempo_bpm > 165 else 1.0
    bar_s = 240.0 / tempo_bpm * factor
    tail = 2 if factor == 0.5 else 1
    ring_s = min(RING_S, _RING_SHARE * duration_s)
    body = max(1, math.floor((duration_s - ring_s) / bar_s / tail)) * tail
    return Budget(
        duration_s=duration_s,
        factor=factor,
        bar_s=bar_s,
        bars=body + tail,
        tail=tail,
        line_bars=1 if bar_s > (_BRISK_BAR_S if duration_s <= _BRIEF_S else _SLOW_BAR_S) else 2,
    )
