"""Ray over several nodes: placement, scale-up to every node, the loss of one and the recovery on a new one.

The nodes stand on loopback, each in its own session with its own address, ports and a pretend GPU.
"""

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import httpx
import psutil
import pytest

from data.embedded_postgres import free_port
from serving.processes import ChildProcess
from tests.conftest import Products
from ui.testing import until

pytestmark = [
    pytest.mark.stack,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux answers on all of 127.0.0.0/8"),
]

TOKEN: Final = "the token of tests, which is long enough"
PIECES_MB: Final = 80

WHERE = """
import asyncio
import ray
from ray import serve

@serve.deployment(name="Where", max_ongoing_requests=1, ray_actor_options={"num_gpus": 1, "num_cpus": 0})
class Where:
    async def __call__(self, request):
        await asyncio.sleep(0.3)
        return ray.util.get_node_ip_address()

def build(args):
    return Where.bind()
"""


class Node:
    """One machine of the cluster."""

    def __init__(self, folder: Path, number: int, head: "Node | None") -> None:
        self.address = f"127.0.0.{number}"
        self.gcs_port = head.gcs_port if head else free_port()
        self.dashboard_port = head.dashboard_port if head else free_port()
        joins = [f"--address={head.address}:{self.gcs_port}"] if head else self._as_head()
        # Addresses and ports of a node: those of others on the same machine must not meet them.
        own = [f"--{name}={free_port()}" for name in ("metrics-export-port", "dashboard-agent-listen-port")]
        first = 30_000 + number * 100
        command = [str(Path(sys.executable).with_name("ray")), "start", "--block", *joins, *own]
        command += [f"--min-worker-port={first}", f"--max-worker-port={first + 99}", "--num-gpus=1", "--num-cpus=1"]
        command += [f"--object-store-memory={PIECES_MB * 1024 * 1024}", f"--node-ip-address={self.address}"]
        command += ["--disable-usage-stats", "--include-log-monitor=false", f"--temp-dir={folder / str(number)}"]
        self._process = ChildProcess(f"node{number}", command, var=folder / "var", env=_environment(folder), grace_s=20)

    def _as_head(self) -> list[str]:
        ports = [f"--port={self.gcs_port}", f"--dashboard-port={self.dashboard_port}"]
        return [
            "--head",
            "--dashboard-host=127.0.0.1",
            "--no-monitor",
            *ports,
            f"--ray-client-server-port={free_port()}",
        ]

    def start(self) -> "Node":
        self._process.start()
        return self

    def stop(self) -> None:
        self._process.stop()

    def lose_power(self) -> None:
        """Everything on this machine is gone at once, with no good-bye."""
        leader = self._process.pid
        assert leader
        for process in psutil.process_iter():
            try:
                if os.getsid(process.pid) == leader:
                    os.kill(process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue

    def last_words(self) -> str:
        return self._process.last_words()


def _environment(folder: Path) -> dict[str, str]:
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "1",
        # a node that vanished is missed after two seconds, not after twenty
        "RAY_health_check_initial_delay_ms": "1000",
        "RAY_health_check_period_ms": "500",
        "RAY_health_check_timeout_ms": "2000",
        "RAY_health_check_failure_threshold": "4",
        "PYTHONPATH": str(folder / "code"),
    }


class Cluster:
    """The nodes, and the doors of their head."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._http_port = free_port()
        self._numbers = iter(range(2, 10))
        self._nodes: list[Node] = []

    def add_node(self) -> Node:
        head = self._nodes[0] if self._nodes else None
        node = Node(self._folder, next(self._numbers), head).start()
        self._nodes.append(node)
        return node

    def last_words(self) -> str:
        return "\n".join(node.last_words() for node in self._nodes)

    def stop(self) -> None:
        for node in reversed(self._nodes):
            node.stop()

    def scale(self, replicas: int) -> bool:
        """Apply the one Serve file with this number in it, as ``serve deploy`` does."""
        deployment = {"name": "Where", "num_replicas": replicas, "graceful_shutdown_timeout_s": 5}
        # A replica of a vanished node is to be missed soon.
        deployment |= {"health_check_period_s": 1, "health_check_timeout_s": 5}
        application = {"name": "songs", "import_path": "melodeon_where:build", "route_prefix": "/", "args": {}}
        config = {"proxy_location": "HeadOnly", "http_options": {"port": self._http_port}}
        return self._rest("PUT", {**config, "applications": [{**application, "deployments": [deployment]}]}) is not None

    def answers(self) -> bool:
        return self._rest("GET") is not None

    def places(self) -> list[str]:
        """Addresses of the nodes whose replicas run, sorted."""
        answer = self._rest("GET") or {}
        deployments = answer.get("applications", {}).get("songs", {}).get("deployments", {})
        replicas = deployments.get("Where", {}).get("replicas", [])
        return sorted(replica["node_ip"] for replica in replicas if replica["state"] == "RUNNING")

    def who_answers(self) -> set[str]:
        """Six requests at once through the head's door; the addresses of the nodes that did them, if all went well."""
        with ThreadPoolExecutor(6) as callers:
            answers = list(
                callers.map(lambda _: httpx.get(f"http://127.0.0.1:{self._http_port}/", timeout=30), range(6))
            )
        return {answer.text for answer in answers} if all(answer.status_code == 200 for answer in answers) else set()

    def _rest(self, method: str, body: dict[str, Any] | None = None) -> dict[str, Any] | None:
        url = f"http://127.0.0.1:{self._nodes[0].dashboard_port}/api/serve/applications/"
        try:
            answer = httpx.request(method, url, json=body, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60)
        except httpx.HTTPError:
            return None
        return (answer.json() if answer.text else {}) if answer.is_success else None


@pytest.fixture
def cluster(products: Products) -> Iterator[Cluster]:
    """Nodes of their own; what they said last is shown when the test fails."""
    products.end()
    # Ray's sockets allow 107 bytes for their path.
    folder = Path(tempfile.mkdtemp(prefix="three-"))
    (folder / "code").mkdir()
    (folder / "code" / "melodeon_where.py").write_text(WHERE)
    nodes = Cluster(folder)
    try:
        yield nodes
    finally:
        sys.stderr.write(nodes.last_words())
        nodes.stop()
        shutil.rmtree(folder, ignore_errors=True)


def test_replicas_reach_every_node_and_a_lost_one_is_replaced_by_a_new_one(cluster: Cluster) -> None:
    head = cluster.add_node()
    until(cluster.answers, "the head answers")
    second, third = cluster.add_node(), cluster.add_node()

    # placed: one GPU each, so one replica each
    until(lambda: cluster.scale(1), "the file is applied")
    until(lambda: len(cluster.places()) == 1, "one replica runs")
    everywhere = sorted(node.address for node in (head, second, third))
    assert cluster.scale(3)
    until(lambda: cluster.places() == everywhere, "every node has a replica")
    until(lambda: cluster.who_answers() == set(everywhere), "every node answers")

    third.lose_power()
    left = sorted(node.address for node in (head, second))
    until(lambda: cluster.places() == left, "the lost node is missed")
    # a request may still have been on its way to the lost one
    until(lambda: set() < cluster.who_answers() <= set(left), "those that are left do the work")

    fourth = cluster.add_node()
    until(lambda: cluster.places() == sorted([*left, fourth.address]), "the new node has a replica")
    until(lambda: cluster.who_answers() == {*left, fourth.address}, "the new node answers")
