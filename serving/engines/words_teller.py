"""Tells how far texts are while a language model writes them."""

from collections.abc import Callable
from typing import Final

from serving.engines.song_words_text import StringTail
from studio.words.take import OnProgress, Progress

_NEARLY: Final = 0.98


class WordsTeller:
    """Passes progress on, for several takes of about the same length.

    The lyrics of the first take are told as they are written; a page shows one text at a time.

    Args:
        on_progress: told for every piece; may raise `Cancelled`.
        takes: how many there will be.
        most_letters: of one take, about.
    """

    def __init__(self, on_progress: OnProgress, *, takes: int, most_letters: int) -> None:
        self._on_progress = on_progress
        self._most_letters = max(1, most_letters)
        self._shares = [0.0] * takes
        self._lyrics: StringTail | None = StringTail("lyrics")

    def begin(self) -> None:
        """Nothing is written yet."""
        self._on_progress(Progress(fraction=0.0, message="Reading"))

    def add(self, index: int, text: str) -> None:
        """This piece, maybe an empty one, came to take ``index``."""
        self._shares[index] = min(_NEARLY, self._shares[index] + len(text) / self._most_letters)
        lyrics = self._lyrics.feed(text) if self._lyrics is not None and index == 0 else ""
        self._on_progress(Progress(fraction=self._fraction(), message="Writing", text=lyrics))

    def begin_again(self) -> None:
        """What was written is void and comes anew, untold: a text that was told cannot be taken back."""
        self._lyrics = None

    def still(self) -> None:
        """Nothing new, but somebody may want to stop."""
        self._on_progress(Progress(fraction=self._fraction(), message="Writing"))

    def finish(self, index: int) -> None:
        """Take ``index`` is complete."""
        self._shares[index] = 1.0

    def end(self) -> None:
        """All is written."""
        self._on_progress(Progress(fraction=1.0, message="Written"))

    def for_take(self, index: int) -> Callable[[int, str], None]:
        """A listener for a model that writes only this take."""
        return lambda _, text: self.add(index, text)

    def _fraction(self) -> float:
        return sum(self._shares) / len(self._shares)
