"""Memory of ACE-Step at full size, by arithmetic: the figures of a 2B checkpoint in 16 bits."""

import numpy as np
import pytest

from serving.catalogue import known
from serving.engines.acestep_ask import ask_of
from serving.engines.acestep_memory import Footprint, offloaded_gb
from studio.sound.clip import Clip
from studio.units import RATE_HZ
from studio.words.brief import Brief, Controls
from studio.words.take import Sources

FULL = Footprint(vae_channels=128, tile_frames=30 * RATE_HZ, hidden=2048, bytes_a_value=2)


def ask(duration_s: float, **words):
    brief = Brief(prompt="folk", controls=Controls(duration_s=duration_s), **words)
    return ask_of(brief, known().spec_of("tiny-ace-step-turbo"), Sources(), {})


@pytest.mark.parametrize(("duration_s", "least", "most"), [(60, 2, 3.1), (240, 9, 12.1), (600, 22, 30)])
def test_untiled_sound_takes_what_the_arithmetic_of_the_decoder_says(duration_s, least, most):
    assert least < FULL.sound_gb(duration_s * RATE_HZ, tiled=False) < most


def test_tiled_sound_takes_one_tile_whatever_the_length():
    assert FULL.sound_gb(600 * RATE_HZ, tiled=True) < 2


@pytest.mark.parametrize(("duration_s", "free_gb", "tiles"), [(60, 8, False), (60, 4, True), (240, 16, True)])
def test_it_tiles_unless_memory_allows(duration_s, free_gb, tiles):
    assert FULL.must_tile(duration_s * RATE_HZ, free_gb) is tiles


def test_more_rows_and_longer_songs_need_more():
    needs = [FULL.needs_gb(ask(length), rows=rows, tiled=True) for length, rows in [(10, 1), (240, 2), (600, 2)]]
    assert needs == sorted(needs)
    assert FULL.needs_gb(ask(600), rows=8, tiled=True) > FULL.needs_gb(ask(600), rows=2, tiled=True)
    assert needs[-1] < 8


def test_a_reference_is_encoded_as_30_s_whatever_its_length():
    noise = Clip(samples=np.full((2, 2 * RATE_HZ), 0.1, np.float32))
    brief = Brief(prompt="folk", reference="r", controls=Controls(duration_s=10))
    short = ask_of(brief, known().spec_of("tiny-ace-step-turbo"), Sources(reference=noise), {})
    assert FULL.needs_gb(short, rows=1, tiled=False) == FULL.sound_gb(30 * RATE_HZ, tiled=False)


def test_with_offload_the_parts_that_lie_on_the_card_at_once_count(tmp_path):
    for part, size in {"transformer": 3_000, "condition_encoder": 1_000, "vae": 500, "text_encoder": 9_000}.items():
        (tmp_path / part).mkdir()
        (tmp_path / part / "a.safetensors").write_bytes(b"x" * size)
        (tmp_path / part / "b.safetensors").write_bytes(b"x" * size)
    assert offloaded_gb(tmp_path) == 9_000 / 1e9
