"""Sound files: 24-bit WAV to keep and MP3 to listen to, labelled; the only door to libsndfile."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import soundfile
from numpy.typing import NDArray

from data.provenance import Labels
from studio.errors import MelodeonError
from studio.sound.clip import Clip
from studio.units import RATE_HZ

MP3_KBITS: Final = 192
"""Constant bit rate of the file for listening, in 1000 bit/s."""

_BLOCK_FRAMES: Final = 1 << 16
_FORMATS: Final = {"wav": ("WAV", "WAVEX"), "flac": ("FLAC",), "ogg": ("OGG",), "mp3": ("MP3",)}
_PCM24_STEPS: Final = 1 << 23
# libsndfile maps its compression level 0 … 1 to 320 … 32 kbit/s at this sample rate (mpeg_l3_encode.c).
_MP3_LEVEL: Final = (320 - MP3_KBITS) / (320 - 32)


class AudioNotWritten(MelodeonError):
    """A sound file could not be written."""

    code = "audio_not_written"

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"The sound file {path.name} could not be written ({why}). Is the disk full?")
        self.path = path


class UnreadableAudio(MelodeonError):
    """A file is not sound that we can read."""

    code = "unreadable_audio"

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path.name} is not a sound file that can be read here ({why}). Use WAV, FLAC, OGG or MP3.")
        self.path = path


def encode_wav(clip: Clip, path: Path, labels: Labels) -> None:
    """Write 24-bit PCM at 48 kHz. Reading it back differs by at most 2**-23 within ±1; beyond, it is clipped.

    Raises:
        AudioNotWritten: the disk is full or the folder cannot be written.
    """
    _check_rate(clip)
    with (
        _writing(path),
        soundfile.SoundFile(path, "w", clip.rate_hz, len(clip.samples), "PCM_24", format="WAV") as file,
    ):
        for name, text in _texts(labels):
            setattr(file, name, text)
        for block in _blocks(clip):
            # libsndfile scales by 2**23 - 1; whole steps of 2**-23 are exact both ways.
            steps = np.clip(np.rint(block * _PCM24_STEPS), -_PCM24_STEPS, _PCM24_STEPS - 1)
            file.write(steps.astype(np.int32) << 8)


def encode_mp3(clip: Clip, path: Path, labels: Labels) -> None:
    """Write MPEG-1 layer III at 192 kbit/s constant and 48 kHz, with the labels as an ID3v2.4 tag.

    Raises:
        AudioNotWritten: the disk is full or the folder cannot be written.
    """
    _check_rate(clip)
    bare = path.with_name(path.name + ".bare")
    try:
        with _writing(path):
            with soundfile.SoundFile(
                bare,
                "w",
                clip.rate_hz,
                len(clip.samples),
                "MPEG_LAYER_III",
                format="MP3",
                compression_level=_MP3_LEVEL,
                bitrate_mode="CONSTANT",
            ) as file:
                for block in _blocks(clip):
                    file.write(block)
            # libsndfile itself would write ID3v1 only: thirty bytes a field and no script but Latin.
            with path.open("wb") as whole, bare.open("rb") as sound:
                whole.write(_id3_tag(labels))
                shutil.copyfileobj(sound, whole)
    finally:
        bare.unlink(missing_ok=True)


def read(path: Path) -> Clip:
    """Read a sound file of one or two channels, at the rate it has.

    Raises:
        UnreadableAudio: it is no sound file, or has more channels.
    """
    with _reading(path) as file:
        if file.channels > 2:
            raise UnreadableAudio(path, f"{file.channels} channels")
        frames: NDArray[np.float32] = file.read(dtype="float32", always_2d=True)
        return Clip(samples=np.ascontiguousarray(frames.T), rate_hz=file.samplerate)


@contextmanager
def reading_as(descriptor: int, form: str) -> Iterator[tuple[int, int, Iterator[NDArray[np.float32]]]]:
    """Rate in Hz, channels and the frames ``[frames, channels]`` in blocks of an open file of somebody else.

    Args:
        form: ``wav``, ``flac``, ``ogg`` or ``mp3``; a file that libsndfile takes for anything else is refused.

    Raises:
        UnreadableAudio: it is not a sound of that form.
    """
    with _reading(descriptor) as file:
        if file.format not in _FORMATS[form]:
            raise UnreadableAudio(Path(form), f"{file.format} inside")
        yield file.samplerate, file.channels, file.blocks(_BLOCK_FRAMES, dtype="float32", always_2d=True)


def write_float_wav(samples: Path, path: Path, *, rate_hz: int, channels: int) -> int:
    """Write raw float32 frames (little-endian, interleaved) as a WAV of 32-bit floats; answers the number of frames.

    Raises:
        AudioNotWritten: the disk is full or the folder cannot be written.
    """
    frames = 0
    with (
        samples.open("rb") as raw,
        _writing(path),
        soundfile.SoundFile(path, "w", rate_hz, channels, "FLOAT", format="WAV") as file,
    ):
        while block := raw.read(_BLOCK_FRAMES * channels * 4):
            whole = np.frombuffer(block, "<f4").reshape(-1, channels)
            file.write(whole)
            frames += len(whole)
    return frames


def read_duration_s(path: Path) -> float:
    """How long a sound file is in seconds, by its header: cheap, and told before memory is taken for its sound.

    Raises:
        UnreadableAudio: it is no sound file.
    """
    with _reading(path) as file:
        return float(file.frames / file.samplerate)


def read_labels(path: Path) -> Labels:
    """The labels that a sound file carries; those that it lacks are empty.

    Raises:
        UnreadableAudio: it is no sound file.
    """
    with _reading(path) as file:
        texts = file.copy_metadata()
    # libsndfile adds its own name to whoever wrote a WAV.
    return Labels(
        title=texts.get("title", ""),
        artist=texts.get("artist", ""),
        comment=texts.get("comment", ""),
        software=texts.get("software", "").removesuffix(f" (libsndfile-{soundfile.__libsndfile_version__})"),
        date=texts.get("date", ""),
    )


def _check_rate(clip: Clip) -> None:
    if clip.rate_hz != RATE_HZ:
        raise ValueError(f"what is kept has {RATE_HZ} Hz, not {clip.rate_hz}")


def _blocks(clip: Clip) -> Iterator[NDArray[np.float32]]:
    """Frames ``[frames, channels]``, a little at a time, so that encoding needs no second copy of the song."""
    for start in range(0, clip.samples.shape[1], _BLOCK_FRAMES):
        block = clip.samples[:, start : start + _BLOCK_FRAMES].T
        if not np.isfinite(block).all():
            raise ValueError(f"the clip has a sample that is no number between frames {start} and {start + len(block)}")
        yield block


def _texts(labels: Labels) -> Iterator[tuple[str, str]]:
    for name in ("title", "artist", "comment", "software", "date"):
        if text := getattr(labels, name):
            yield name, text


_ID3_FRAMES: Final = {"title": "TIT2", "artist": "TPE1", "comment": "COMM", "software": "TSSE", "date": "TDRC"}
_UTF_8: Final = b"\x03"


def _id3_tag(labels: Labels) -> bytes:
    """An ID3v2.4.0 tag in UTF-8 (id3.org, 1 November 2000)."""
    frames = b"".join(_id3_frame(_ID3_FRAMES[name], text) for name, text in _texts(labels))
    return b"ID3\x04\x00\x00" + _synchsafe(len(frames)) + frames


def _id3_frame(frame_id: str, text: str) -> bytes:
    # A comment begins with its language and an empty description.
    body = _UTF_8 + (b"eng\x00" if frame_id == "COMM" else b"") + text.encode()
    return frame_id.encode() + _synchsafe(len(body)) + b"\x00\x00" + body


def _synchsafe(number: int) -> bytes:
    """Four bytes of seven bits each, so that no player takes them for the start of sound."""
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except (soundfile.LibsndfileError, OSError) as error:
        raise AudioNotWritten(path, str(error)) from error
    except AssertionError as error:
        # soundfile asserts that every frame was taken.
        raise AudioNotWritten(path, "it was cut off") from error


@contextmanager
def _reading(place: Path | int) -> Iterator[soundfile.SoundFile]:
    try:
        with soundfile.SoundFile(place, closefd=isinstance(place, Path)) as file:
            yield file
    except soundfile.LibsndfileError as error:
        raise UnreadableAudio(place if isinstance(place, Path) else Path("sound"), str(error)) from error
