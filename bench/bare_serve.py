"""The yardstick of `bench/serving.py`: Ray Serve alone, over the same two hops as a call of ours and doing nothing.

An HTTP door in one replica passes each body to another replica and streams its one line back. `times_ms` runs it in a
process of its own, which starts Ray behind a token and ends it.
"""

import importlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, Final

import httpx
import ray
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from ray import serve

from data.embedded_postgres import free_port

BODY: Final = b"x" * 600
WARM_UP: Final = 50
door = FastAPI()


@serve.deployment
class Far:
    """Says one line."""

    async def make(self, _: bytes) -> AsyncGenerator[bytes, None]:
        """The line."""
        yield b'{"kind": "done"}\n'


@serve.deployment
@serve.ingress(door)
class Near:
    """Passes bodies on and lines back."""

    def __init__(self, far: Any) -> None:
        self._far = far.options(stream=True)

    @door.post("/make")
    async def make(self, request: Request) -> StreamingResponse:
        """One call."""
        answer = self._far.make.remote(await request.body())
        return StreamingResponse(answer, media_type="application/x-ndjson")


def times_ms(calls: int) -> list[float]:
    """Milliseconds of so many calls, one after the other over one connection."""
    # Ray reads its token when it is loaded, and the replicas find this module by its name
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
    run = subprocess.run(
        [sys.executable, __file__, str(calls)],
        env={**os.environ, **token, "PYTHONPATH": str(Path(__file__).parent)},
        stdout=subprocess.PIPE,
        check=True,
    )
    times: list[float] = json.loads(run.stdout.splitlines()[-1])
    return times


def deploy_and_call(calls: int) -> list[float]:
    """What `times_ms` answers, on the Ray that this process has started."""
    port = free_port()
    serve.start(http_options={"port": port})
    serve.run(Near.bind(Far.bind()))
    found = []
    with httpx.Client() as client:
        for _ in range(WARM_UP + calls):
            begun = time.perf_counter()
            client.post(f"http://127.0.0.1:{port}/make", content=BODY).raise_for_status()
            found.append((time.perf_counter() - begun) * 1000)
    serve.shutdown()
    return found[WARM_UP:]


def main() -> None:
    """Start Ray, measure, end it."""
    # ignore_errors: Ray's last processes may still write
    with tempfile.TemporaryDirectory(prefix="mel-bare-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        ray.init(
            num_cpus=4, include_dashboard=False, log_to_driver=False, _temp_dir=folder, _node_ip_address="127.0.0.2"
        )
        found = importlib.import_module("bare_serve").deploy_and_call(int(sys.argv[1]))
        ray.shutdown()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
