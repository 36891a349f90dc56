"""Sources: the sounds that a Brief names by their keys, fetched and decoded before the engine has its turn."""

from pathlib import Path
from typing import Final

from data.audio_files import read
from data.object_store import BadKey, NoObject, ObjectStore
from data.scratch import scratch_folder
from studio.errors import MelodeonError
from studio.sound.clip import Clip
from studio.sound.resample import resampled, stereo
from studio.words.brief import Brief
from studio.words.take import Sources

LARGEST_BYTES: Final = 512 << 20
"""Ten minutes of 32-bit stereo at 96 kHz; what is larger is no song."""


class MissingSource(MelodeonError):
    """A sound that the Brief names is not in the store."""

    code = "missing_source"

    def __init__(self, role: str) -> None:
        super().__init__(f"The {role} sound is no longer there; choose another one and ask again.")


class SourceTooLarge(MelodeonError):
    """A sound that the Brief names is larger than any song."""

    code = "source_too_large"

    def __init__(self, role: str) -> None:
        super().__init__(f"The {role} sound is too large; choose one of at most {LARGEST_BYTES / 1e6:.0f} MB.")


def fetch_sources(brief: Brief, store: ObjectStore, scratch: Path) -> Sources:
    """The sounds that ``brief`` names, 48 kHz stereo.

    Raises:
        MissingSource, SourceTooLarge, UnreadableAudio: asking again would not help.
        StoreUnavailable: it would.
    """
    return Sources(
        source=_sound(brief.source, "source", store, scratch),
        reference=_sound(brief.reference, "reference", store, scratch),
    )


def _sound(key: str, role: str, store: ObjectStore, scratch: Path) -> Clip | None:
    if not key:
        return None
    with scratch_folder(scratch) as folder:
        # the person is told what the sound is for, never a key; its ending helps nobody, the content decides
        path = folder / f"the {role} sound"
        _download(key, role, store, path)
        return stereo(resampled(read(path)))


def _download(key: str, role: str, store: ObjectStore, path: Path) -> None:
    size_bytes = 0
    try:
        with path.open("wb") as file:
            for block in store.get(key):
                size_bytes += len(block)
                if size_bytes > LARGEST_BYTES:
                    raise SourceTooLarge(role)
                file.write(block)
    except (NoObject, BadKey):
        raise MissingSource(role) from None
