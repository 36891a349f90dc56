"""``melodeon backup`` and ``melodeon restore`` on the running product."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from configs.secrets import load_or_create
from data.database import migrate
from data.embedded_postgres import EmbeddedPostgres, free_port
from ui.testing import Stack


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """An empty folder that Postgres' unprivileged user can walk to, whoever runs the tests."""
    folder = Path(tempfile.mkdtemp(prefix="mel-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder / "var"
    shutil.rmtree(folder)


def test_a_backup_of_the_running_product_comes_back_elsewhere(stack: Stack, elsewhere: Path, tmp_path: Path) -> None:
    made = stack.melodeon("song", "a short song about snow", "--duration", "10", "--out", str(tmp_path / "song"))
    assert made.returncode == 0, made.stderr
    kept = stack.melodeon("backup", str(tmp_path / "kept"), "--json")
    assert kept.returncode == 0, kept.stderr
    backup = json.loads(kept.stdout)
    assert backup["objects"] >= 12
    assert backup["missing"] == []

    proof = stack.melodeon("restore", backup["folder"], "--verify", "--json", timeout_s=300)
    assert proof.returncode == 0, proof.stderr
    found = json.loads(proof.stdout)
    assert found == {
        "ok": True,
        "rows": sum(backup["rows"].values()),
        "objects": backup["objects"],
        "faults": [],
        "orphans": 0,
    }

    refused = stack.melodeon("restore", backup["folder"])
    assert refused.returncode == 1
    assert "stop it first" in refused.stderr

    settings = {name: value for name, value in os.environ.items() if not name.startswith("MELODEON_")}
    settings |= {"MELODEON_VAR": str(elsewhere), "MELODEON_DATABASE__PORT": str(free_port())}
    command = [str(Path(sys.executable).with_name("melodeon")), "restore", backup["folder"], "--json"]
    back = subprocess.run(command, env=settings, capture_output=True, text=True, check=False, timeout=300)
    assert back.returncode == 0, back.stderr
    assert json.loads(back.stdout)["ok"]
    for name in ("link_key", "database_password"):
        assert (elsewhere / "secrets" / name).read_text() == (stack.var / "secrets" / name).read_text()
    again = subprocess.run(command, env=settings, capture_output=True, text=True, check=False, timeout=300)
    assert again.returncode == 1
    assert "already" in again.stderr


@pytest.fixture
def database_alone(elsewhere: Path) -> Iterator[dict[str, str]]:
    """An installation of which only the database runs; its environment."""
    secrets = load_or_create(elsewhere)
    server = EmbeddedPostgres(
        folder=elsewhere / "postgres",
        port=free_port(),
        password=secrets.database_password,
        log=elsewhere / "postgres.log",
        settings={"fsync": "off"},
    )
    server.start()
    migrate(server.url)
    settings = {name: value for name, value in os.environ.items() if not name.startswith("MELODEON_")}
    yield settings | {"MELODEON_VAR": str(elsewhere), "MELODEON_DATABASE__PORT": str(server.port)}
    server.stop()


def test_a_backup_that_is_kept_up_goes_on_until_it_is_told_to_end_and_comes_back(
    database_alone: dict[str, str], tmp_path: Path
) -> None:
    melodeon, kept = str(Path(sys.executable).with_name("melodeon")), str(tmp_path / "kept")
    command = [melodeon, "backup", "--follow", kept, "--every", "1", "--json"]
    with subprocess.Popen(command, env=database_alone, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        marks = [json.loads(following.stdout.readline()) for _ in range(2)]
        following.send_signal(signal.SIGTERM)
        assert following.wait(60) == 0
    assert marks[0]["taken_at"] < marks[1]["taken_at"]
    proof = subprocess.run(
        [melodeon, "restore", "--verify", kept, "--json"],
        env=database_alone, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert proof.returncode == 0, proof.stderr
    assert json.loads(proof.stdout)["ok"]


def test_of_another_postgres_no_backup_is_kept_up(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "MELODEON_VAR": str(tmp_path),
        "MELODEON_DATABASE__URL": "postgresql://x:x@127.0.0.1:9/x",
    }
    command = [str(Path(sys.executable).with_name("melodeon")), "backup", "--follow", str(tmp_path / "kept")]
    refused = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert refused.returncode == 1
    assert "MELODEON_DATABASE__URL" in refused.stderr
