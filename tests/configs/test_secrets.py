"""Secrets: made once, whoever comes first; readable by their owner only; never half."""

import stat
import subprocess
import sys
from dataclasses import astuple
from pathlib import Path

import pytest

from configs.secrets import BrokenSecret, load_or_create


def test_secrets_are_long_different_and_stay(tmp_path: Path) -> None:
    made = load_or_create(tmp_path)
    assert load_or_create(tmp_path) == made
    values = astuple(made)
    assert len(set(values)) == len(values) == 11
    assert all(len(value) == 43 for value in values)
    assert not any(value in repr(made) for value in values)


def test_only_the_owner_reads_them(tmp_path: Path) -> None:
    load_or_create(tmp_path)
    folder = tmp_path / "secrets"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert len(list(folder.iterdir())) == 11  # nothing is left aside


def test_many_processes_agree(tmp_path: Path) -> None:
    gate = tmp_path / "go"
    program = (
        "import pathlib, sys, dataclasses; from configs.secrets import load_or_create\n"
        f"while not pathlib.Path({str(gate)!r}).exists(): pass\n"
        f"print(dataclasses.astuple(load_or_create(pathlib.Path({str(tmp_path)!r}))))"
    )
    racers = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) for _ in range(6)]
    gate.touch()
    answers = {racer.communicate(timeout=60)[0] for racer in racers}
    assert all(racer.returncode == 0 for racer in racers)
    assert len(answers) == 1
    assert len(list((tmp_path / "secrets").iterdir())) == 11


@pytest.mark.parametrize("content", [b"", b"\n", b"short", b"\xff" * 43, b"a b" * 20])
def test_a_damaged_secret_is_not_used(tmp_path: Path, content: bytes) -> None:
    load_or_create(tmp_path)
    (tmp_path / "secrets" / "link_key").write_bytes(content)
    with pytest.raises(BrokenSecret, match="link_key is damaged"):
        load_or_create(tmp_path)
