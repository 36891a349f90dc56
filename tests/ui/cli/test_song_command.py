"""``melodeon song`` on the running product: files, JSON, exit codes."""

import hashlib
import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyloudnorm
import pytest
import soundfile

from serving.accounts import WrongPassword, local_account, sign_in, sign_up
from ui.testing import Stack, spend

PROMPT = "dreamy synthwave about driving home at midnight"
FIELDS = {
    "id", "title", "status", "engine", "seed", "guidance_scale", "duration_s", "loudness_lufs", "true_peak_dbtp",
    "tags", "lyrics", "files",
}  # fmt: skip


def made(result: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert result.returncode == 0, result.stderr
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def song(stack: Stack, out: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return stack.melodeon("song", *words, "--out", str(out), "--json", timeout_s=300)


def digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def test_two_takes_lie_in_the_folder_as_promised(stack: Stack, tmp_path: Path) -> None:
    answer = made(song(stack, tmp_path, PROMPT, "--duration", "12", "--seed", "7"))
    assert set(answer) == {"request", "songs", "credits"}
    assert answer["credits"]["before"] - answer["credits"]["after"] == 2
    assert [one["status"] for one in answer["songs"]] == ["processed", "processed"]
    assert [one["seed"] for one in answer["songs"]] == [7, 8]
    assert [one["guidance_scale"] for one in answer["songs"]] == [7.5, 15.0]
    for one in answer["songs"]:
        assert set(one) == FIELDS
        assert one["title"]
        assert one["lyrics"]
        assert one["tags"]
        assert set(one["files"]) == {"wav", "cover", "lyrics", "metadata"}
        info = soundfile.info(one["files"]["wav"])
        assert (info.samplerate, info.channels, info.subtype) == (48_000, 2, "PCM_24")
        samples, rate_hz = soundfile.read(one["files"]["wav"])
        assert abs(len(samples) / rate_hz - 12) <= 0.5
        assert abs(pyloudnorm.Meter(rate_hz).integrated_loudness(samples) + 14) <= 0.5
        assert np.abs(samples).max() <= 10 ** (-1 / 20)
        assert one["true_peak_dbtp"] <= -1.0
        with soundfile.SoundFile(one["files"]["wav"]) as file:
            assert file.title == one["title"]
            assert "AI-generated" in file.comment
        assert Path(one["files"]["cover"]).read_bytes().startswith(b"\x89PNG")
        metadata = json.loads(Path(one["files"]["metadata"]).read_text())
        assert metadata["ai_generated"] is True
    first, second = answer["songs"]
    assert digest(first["files"]["wav"]) != digest(second["files"]["wav"])

    again = made(song(stack, tmp_path / "again", PROMPT, "--duration", "12", "--seed", "7"))
    assert [digest(one["files"]["wav"]) for one in again["songs"]] == [
        digest(one["files"]["wav"]) for one in answer["songs"]
    ]
    files = [one["files"][kind] for one in answer["songs"] for kind in ("wav", "cover")]
    verified = stack.melodeon("verify", *files, "--json", timeout_s=300)
    assert verified.returncode == 0, verified.stdout
    assert {(one["state"], one["ours"]) for one in json.loads(verified.stdout)["files"]} == {("valid", True)}


def test_own_lyrics_tempo_and_key_are_kept(stack: Stack, tmp_path: Path) -> None:
    lyrics = tmp_path / "lyrics.txt"
    lyrics.write_text("[verse]\nOne small light on the water\nOne small boat and no harbour\n")
    words = ("warm indie folk", "--lyrics", str(lyrics), "--duration", "20", "--bpm", "96", "--key", "G major")
    answer = made(song(stack, tmp_path, *words))
    for one in answer["songs"]:
        assert "One small light on the water" in one["lyrics"]
        metadata = json.loads(Path(one["files"]["metadata"]).read_text())
        assert (metadata["tempo_bpm"], metadata["key"]) == (96, "G major")


def test_an_instrumental_has_no_lyrics(stack: Stack, tmp_path: Path) -> None:
    answer = made(song(stack, tmp_path, "calm ambient about snow", "--instrumental", "--duration", "10"))
    assert [one["lyrics"] for one in answer["songs"]] == ["", ""]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("",), "Describe your song"),
        (("x" * 5000,), "5,000 characters"),
        ((PROMPT, "--duration", "0"), "from 10 to 240"),
        ((PROMPT, "--duration", "-5"), "from 10 to 240"),
        ((PROMPT, "--duration", "nan"), "finite"),
        ((PROMPT, "--duration", "1e9"), "from 10 to 240"),
        ((PROMPT, "--bpm", "5"), "from 30 to 300"),
        ((PROMPT, "--bpm", "900"), "from 30 to 300"),
        ((PROMPT, "--key", "H sharp"), "must be one of"),
        ((PROMPT, "--seed", "-1"), "seed"),
        ((PROMPT, "--lyrics", "/nowhere/lyrics.txt"), "cannot be read"),
        ((PROMPT, "--no-such-option"), "No such option"),
        ((), "Missing argument"),
    ],
)
def test_bad_input_is_a_sentence_and_exit_2(
    stack: Stack, tmp_path: Path, words: tuple[str, ...], sentence: str
) -> None:
    result = song(stack, tmp_path / "out", *words)
    assert result.returncode == 2
    assert sentence in result.stderr
    assert result.stdout == ""
    assert not (tmp_path / "out").exists()


def test_too_long_and_unreadable_lyrics_are_refused(stack: Stack, tmp_path: Path) -> None:
    long, binary = tmp_path / "long.txt", tmp_path / "binary.txt"
    long.write_text("la " * 20_000)
    binary.write_bytes(b"\xff\xfe\x00\x80")
    for path, sentence in ((long, "at most 10,000"), (binary, "cannot be read")):
        result = song(stack, tmp_path / "out", PROMPT, "--lyrics", str(path))
        assert result.returncode == 2
        assert sentence in result.stderr


def test_without_credits_it_exits_3_and_says_what_helps(stack: Stack, tmp_path: Path) -> None:
    with stack.services.database.transaction() as session:
        local = local_account(session, signup_credits=100, now=datetime.now(UTC))
    spend(stack.services, local, leave=1)
    result = song(stack, tmp_path, PROMPT, "--duration", "10")
    assert result.returncode == 3
    assert "melodeon credits grant local" in result.stderr
    assert stack.melodeon("credits", "grant", "local", "100").returncode == 0


def test_operators_get_sentences_for_unknown_names(stack: Stack) -> None:
    for words in (
        ("credits", "grant", "nobody-here", "5"),
        ("account", "reset-password", "nobody-here", "--password", "a b c d e f"),
    ):
        result = stack.melodeon(*words)
        assert result.returncode == 1
        assert "no such account" in result.stderr


def test_a_reset_password_opens_the_account_again(stack: Stack) -> None:
    services = stack.services
    with services.database.transaction() as session:
        sign_up(session, name="locked", email="", password="the old phrase", signup_credits=0, now=datetime.now(UTC))
    result = stack.melodeon("account", "reset-password", "locked", "--password", "a new good phrase")
    assert result.returncode == 0, result.stderr
    assert sign_in(services.database, "locked", "a new good phrase").name == "locked"
    with pytest.raises(WrongPassword):
        sign_in(services.database, "locked", "the old phrase")


def test_doctor_finds_a_healthy_product_well(stack: Stack) -> None:
    result = stack.melodeon("doctor", "--json")
    answer = json.loads(result.stdout)
    assert [check for check in answer["checks"] if not check["ok"]] == []
    assert answer["ok"] is True
    assert result.returncode == 0
