"""A process that is killed over an archive leaves somebody's data aside; the next one takes it away first of all."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

from serving.api.app import lifespan, make_app

EXPORT = """
import time
from configs.secrets import load_or_create
from configs.settings import settings
from data.repositories import accounts
from serving import privacy
from serving.api.services import open_services

services = open_services(settings(), load_or_create(settings().var))
with services.database.transaction() as session:
    account = accounts.by_name(session, "ada")
blocks = privacy.export(services, account)
next(blocks)
print("begun", flush=True)
time.sleep(600)
"""


def kill_an_export(services) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MELODEON_")}
    environment |= {
        "MELODEON_VAR": str(services.settings.var),
        "MELODEON_DATABASE__URL": services.database.conninfo,
    }
    with subprocess.Popen([sys.executable, "-c", EXPORT], env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        os.kill(process.pid, signal.SIGKILL)


def left_in(scratch: Path) -> set[str]:
    return {path.name for path in scratch.rglob("*") if path.is_file()}


async def open_and_close(services) -> None:
    async with lifespan(make_app(services)):
        pass


def test_what_a_killed_export_left_is_gone_at_the_next_start(services, make_person) -> None:
    make_person("ada", "quixotl")
    scratch = services.settings.var / "scratch"
    kill_an_export(services)
    assert "account.jsonl" in left_in(scratch)
    asyncio.run(open_and_close(services))
    assert list(scratch.iterdir()) == []
