"""Whatever a host stores for people to hear or keep is marked, honestly, and alike every time."""

from datetime import UTC, datetime

import numpy as np
import pytest

from configs.settings import ProvenanceSettings
from data.marks import Marker, examine
from data.signing import Signer, known_signers, own_signer
from serving.catalogue import known
from serving.deployments.finishing import Finisher
from studio.words.asset import AssetRole
from studio.words.brief import BriefKind, MusicTask
from studio.words.mark import Making, MarkState
from studio.words.take import Picture, Take

OURS = known_signers(ProvenanceSettings(), "k" * 43)


@pytest.fixture
def stored(store, tmp_path):
    """The mark of a stored object."""

    def look(asset):
        path = tmp_path / "kept"
        path.write_bytes(b"".join(store.get(asset.key)))
        return examine(path, ours=OURS)

    return look


def test_wav_and_stream_are_marked_in_the_store(host_of, step_engine, sound, ask, answers, stored):
    version = known().spec_of("builtin-song").version
    take = answers(host_of(step_engine((sound(10.0),))), ask())[-2].take
    for role in (AssetRole.WAV, AssetRole.STREAM):
        mark = stored(take.assets[role])
        assert (mark.state, mark.ours, mark.making) == (MarkState.VALID, True, Making.ALGORITHM)
        assert (mark.title, mark.engine) == ("Walking Home", f"Built-in composer {version}")
        assert mark.generator == "Melodeon 0.1.0"


def test_the_same_take_is_stored_as_the_same_bytes(host_of, step_engine, sound, ask, answers):
    made = [answers(host_of(step_engine((sound(10.0),))), ask())[-2].take for _ in range(2)]
    hashes = [{role: asset.sha256 for role, asset in take.assets.items()} for take in made]
    assert hashes[0] == hashes[1]


def test_covers_are_marked_where_a_mark_is_worth_its_bytes(host_of, step_engine, ask, answers, stored):
    pixels = np.random.default_rng(2).integers(0, 255, (1024, 1024, 3), np.uint8)
    engine = step_engine((Picture(pixels=pixels),), name="builtin-cover")
    assets = answers(host_of(engine), ask(kind=BriefKind.COVER))[-2].take.assets
    assert {role: stored(asset).state for role, asset in assets.items()} == {
        AssetRole.COVER: MarkState.VALID,
        AssetRole.COVER_512: MarkState.VALID,
        AssetRole.COVER_128: MarkState.UNMARKED,
    }


@pytest.mark.parametrize(
    ("trained", "more", "making"),
    [
        (False, {}, Making.ALGORITHM),
        (True, {}, Making.MODEL),
        (True, {"task": MusicTask.EXTRACT, "source": "songs/1.wav", "tracks": ("drums",)}, Making.MODEL_FROM_SOUND),
    ],
)
def test_what_made_it_is_said_as_it_is(trained, more, making, step_engine, sound, ask, store, scratch, marker, stored):
    engine = step_engine()
    finisher = Finisher(
        store, spec=engine.spec, marker=marker, trained=trained, scratch=scratch, clock=lambda: datetime.now(UTC)
    )
    take = Take(result=sound(10.0), engine=engine.name, engine_version="1", seed=7)
    finished = finisher.finish(take, 0, ask(**more), step=lambda *_: None)
    assert stored(finished.assets[AssetRole.WAV]).making == making


def test_what_cannot_be_marked_is_not_stored(host_of, step_engine, sound, ask, answers, store, scratch):
    refused = Signer(
        algorithm="es256", **{name: getattr(own_signer("k" * 43), name) for name in ("chain_pem", "key_pem", "key")}
    )
    engine = step_engine((sound(10.0),))
    marker, clock = Marker(refused, version="1"), lambda: datetime.now(UTC)
    finisher = Finisher(store, spec=engine.spec, marker=marker, trained=False, scratch=scratch, clock=clock)
    failed = answers(host_of(engine, finisher=finisher), ask())[-2]
    assert (failed.code, list(store.list())) == ("not_marked", [])
    assert "could not be marked as AI-generated" in failed.sentence
