"""Marks of origin: promised is at most 0.5 s for all files of a song of three minutes, in the median.

    python bench/provenance.py [--quick] [--json] [--csv FILE]

What is timed is what a replica does with one take before its files are stored: sign WAV and MP3, put the mark in, and
look at it as a stranger would; and with its cover, as PNG and as WebP. Then a byte in the middle of the WAV is changed
many times and the file examined. ``processor time`` is what other work on the machine disturbs least. The figure of a
bare `melodeon verify` holds the start of its child process too.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np
from harness import row, run

from configs.settings import ProvenanceSettings
from data.audio_files import encode_mp3, encode_wav
from data.mark_examination import examine_apart
from data.marks import Marker, examine
from data.picture_files import encode_png, encode_webp
from data.provenance import labels_for
from data.signing import known_signers, own_signer
from studio.sound.clip import Clip
from studio.units import RATE_HZ
from studio.words.mark import Making, MarkState, Origin
from studio.words.take import Picture

PROMISE_S: Final = 0.5
FULL: Final = (180.0, 10, 200)
"""Length of the song in seconds, times it is marked, bytes changed."""
QUICK: Final = (20.0, 3, 20)
SECRET: Final = "bench" * 9
SEED: Final = 7
ORIGIN: Final = Origin(
    title="A Song", engine="builtin-song", engine_label="Built-in composer", engine_version="1", making=Making.ALGORITHM
)


def files_of_a_song(folder: Path, duration_s: float) -> dict[str, Path]:
    """What is stored of a take, not yet marked; noise is as hard to hash as any sound."""
    chance = np.random.default_rng(SEED)
    clip = Clip(samples=chance.normal(0, 0.1, (2, round(duration_s * RATE_HZ))).astype(np.float32))
    cover = Picture(pixels=chance.integers(0, 255, (1024, 1024, 3), np.uint8))
    labels = labels_for(title="A Song", artist="ada", engine="Built-in composer", version="1", now=datetime.now(UTC))
    files = {form: folder / f"song.{form}" for form in ("wav", "mp3", "png", "webp")}
    encode_wav(clip, files["wav"], labels)
    encode_mp3(clip, files["mp3"], labels)
    files["png"].write_bytes(encode_png(cover))
    files["webp"].write_bytes(encode_webp(cover, size_px=512))
    return files


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the wall and of processor time."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def changes_missed(path: Path, times: int) -> int:
    """How many of so many changed bytes, spread over the file, left its mark valid."""
    content = bytearray(path.read_bytes())
    chance = np.random.default_rng(SEED)
    changed, missed = path.with_name("changed"), 0
    for place in chance.integers(0, len(content), times):
        content[place] ^= 0x01
        changed.write_bytes(content)
        missed += examine(changed).state is MarkState.VALID
        content[place] ^= 0x01
    return missed


def measure(size: tuple[float, int, int]) -> list[dict[str, object]]:
    """Mark a song's files again and again, then examine them."""
    duration_s, times, changes = size
    marker, ours = Marker(own_signer(SECRET), version="bench"), known_signers(ProvenanceSettings(), SECRET)
    marking, sounds_cpu_s, made = [], [], set()
    with tempfile.TemporaryDirectory(prefix="melodeon-bench-") as name:
        for _ in range(times):
            files = files_of_a_song(Path(name), duration_s)
            plain_bytes = files["wav"].stat().st_size
            spent = {
                form: timed(lambda form=form, path=path: marker.mark(path, form, ORIGIN))
                for form, path in files.items()
            }
            marking.append(tuple(sum(figures) for figures in zip(*spent.values(), strict=True)))
            sounds_cpu_s.append(spent["wav"][1] + spent["mp3"][1])
            made.add(tuple(path.read_bytes() for path in files.values()))
        walls_s, cpu_s = [wall for wall, _ in marking], median(cpu for _, cpu in marking)
        invalid = sum(examine(path, ours=ours).state is not MarkState.VALID for path in files.values())
        looked = timed(lambda: examine(files["wav"], ours=ours))
        apart_s, _ = timed(lambda: examine_apart(files["wav"], ours=ours))
        return [
            row(f"mark WAV, MP3 and covers of a song of {duration_s:g} s, median", median(walls_s), "s", PROMISE_S),
            row(f"the same, slowest of {times}", max(walls_s), "s", None),
            row("the same, processor time, median", cpu_s, "s", None),
            row("of it WAV and MP3, processor time, median", median(sounds_cpu_s), "s", None),
            row("examine the WAV, processor time", looked[1], "s", None),
            row("melodeon verify of the WAV, with its child", apart_s, "s", None),
            row("a mark in the WAV", files["wav"].stat().st_size - plain_bytes, "bytes", None),
            row("files without a valid mark", invalid, "", 0),
            row("different bytes for the same song", len(made) - 1, "", 0),
            row(f"of {changes} single-byte changes, unseen", changes_missed(files["mp3"], changes), "", 0),
        ]


if __name__ == "__main__":
    sys.exit(run("provenance", __doc__, measure, full=FULL, quick=QUICK, smaller=f"a song of {QUICK[0]:g} s"))
