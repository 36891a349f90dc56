"""``melodeon backup`` and ``melodeon restore`` on the running product."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from data.embedded_postgres import free_port
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
