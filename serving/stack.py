"""The stack: which parts this installation runs, how each is started and when it is ready."""

import hashlib
import json
import os
import socket
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

import studio
from configs.addresses import (
    database_url,
    gateway_url,
    login_passwords,
    pretended_stripe,
    pretended_stripe_port,
)
from configs.secrets import Secrets
from configs.settings import Settings
from data.database import migrate
from data.embedded_postgres import EmbeddedPostgres
from serving.applications import SETTLE_S, standing_of
from serving.processes import ChildProcess, private_folder
from serving.supervisor import Part
from studio.errors import MelodeonError

PORT_TRIES = 50
RAY_PORTS = ("http_port", "gcs_port", "dashboard_port", "agent_port", "metrics_port", "client_port")
LONGEST_RAY_FOLDER = 40


class NoFreePort(MelodeonError):
    """Every port near the wanted one is taken."""

    code = "no_free_port"

    def __init__(self, name: str, wanted: int) -> None:
        super().__init__(
            f"The ports {wanted} to {wanted + PORT_TRIES - 1} are all taken; set {name} to a free port and start again."
        )


def port_is_free(port: int) -> bool:
    """Whether a server could listen on this port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def with_free_ports(settings: Settings, *, say: Callable[[str], None]) -> Settings:
    """The settings with every taken port replaced by the next free one; each replacement is told."""
    chosen: set[int] = set()

    def free(name: str, wanted: int) -> int:
        for port in range(wanted, wanted + PORT_TRIES):
            if port not in chosen and port_is_free(port):
                chosen.add(port)
                if port != wanted:
                    say(f"Port {wanted} ({name}) is taken; using {port}.")
                return port
        raise NoFreePort(f"MELODEON_{name.replace('.', '__').upper()}", wanted)

    web = settings.web.model_copy(update={"port": free("web.port", settings.web.port)})
    database, serve = settings.database, settings.serve
    if database.url is None:
        database = database.model_copy(update={"port": free("database.port", database.port)})
    if serve.gateway_url is None:
        serve = serve.model_copy(update={name: free(f"serve.{name}", getattr(serve, name)) for name in RAY_PORTS})
    stripe = settings.stripe
    if (port := pretended_stripe_port(settings)) is not None:
        stripe = pretended_stripe(settings.var, free("the fake Stripe", port))
    return settings.model_copy(update={"web": web, "database": database, "serve": serve, "stripe": stripe})


def child_environment(settings: Settings) -> dict[str, str]:
    """What every child is told about this start: the folder and the ports really used. No secrets."""
    told = {
        "MELODEON_VAR": str(settings.var),
        "MELODEON_WEB__PORT": str(settings.web.port),
        "MELODEON_DATABASE__PORT": str(settings.database.port),
        "MELODEON_SERVE__GATEWAY_URL": gateway_url(settings),
        "PYTHONUNBUFFERED": "1",
    }
    told |= _pretended_environment(settings)
    # Compiled sample loops are kept beside their source, where every installation folder finds them.
    if not os.access(Path(studio.__file__).parent / "sound", os.W_OK):
        told["NUMBA_CACHE_DIR"] = os.environ.get("NUMBA_CACHE_DIR", str(settings.var / "cache" / "numba"))
    return told


def _pretended_environment(settings: Settings) -> dict[str, str]:
    """The fake Stripe's address and keys, which open nothing but the fake; nothing when payments are real or off."""
    stripe = settings.stripe
    if pretended_stripe_port(settings) is None or stripe.api_key is None or stripe.base_url is None:
        return {}
    return {
        "MELODEON_STRIPE__API_KEY": stripe.api_key.get_secret_value(),
        "MELODEON_STRIPE__WEBHOOK_SECRETS": json.dumps([each.get_secret_value() for each in stripe.webhook_secrets]),
        "MELODEON_STRIPE__BASE_URL": stripe.base_url,
    }


def bring_up_to_date(settings: Settings, secrets: Secrets) -> None:
    """Give the database the tables of this version, and each login what it may do and, in our own server, its password.

    Raises:
        DatabaseUnreachable: no connection.
    """
    passwords = login_passwords(secrets) if settings.database.url is None else None
    migrate(database_url(settings, secrets, role="owner"), passwords)


class PostgresPart:
    """The embedded Postgres, brought to the newest schema whenever it starts."""

    name = "postgres"

    def __init__(self, settings: Settings, secrets: Secrets) -> None:
        self._log = settings.var / "log" / "postgres.log"
        self._settings, self._secrets = settings, secrets
        self._server = EmbeddedPostgres(
            folder=settings.var / "postgres",
            port=settings.database.port,
            password=secrets.database_password,
            log=self._log,
        )

    def start(self) -> None:
        """Start the server, making its data folder on the first start."""
        private_folder(self._log.parent)
        self._server.start()
        bring_up_to_date(self._settings, self._secrets)

    def running(self) -> bool:
        """Whether the server process lives."""
        return self._server.running()

    def ready(self) -> bool:
        """`start` returns when the server answers, so a living one is ready."""
        return self._server.running()

    def remarks(self) -> tuple[str, ...]:
        """Nothing to remark."""
        return ()

    def stop(self) -> None:
        """End the server after a checkpoint."""
        self._server.stop()

    def last_words(self) -> str:
        """The end of its log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-5:]) if self._log.exists() else ""


class ProcessPart:
    """A part that is one command, ready when a question about it is answered with yes."""

    def __init__(self, child: ChildProcess, *, ready: Callable[[], bool]) -> None:
        self.name = child.name
        self._child = child
        self._ready = ready

    def start(self) -> None:
        """Start the command."""
        self._child.start()

    def running(self) -> bool:
        """Whether the command lives."""
        return self._child.running()

    def ready(self) -> bool:
        """Ask."""
        return self._child.running() and self._ready()

    def remarks(self) -> tuple[str, ...]:
        """Nothing to remark."""
        return ()

    def stop(self) -> None:
        """End the command and its descendants."""
        self._child.stop()

    def last_words(self) -> str:
        """The end of its log."""
        return self._child.last_words()


def answers(url: str) -> bool:
    """Whether a GET of ``url`` is answered with a 2xx within two seconds."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - an address of our own
            return bool(200 <= answer.status < 300)
    except (OSError, ValueError):
        return False


def worker_part(settings: Settings) -> ProcessPart:
    """The worker, ready when it has written its first beat to ``var/run/worker.beat``."""
    beat = settings.var / "run" / "worker.beat"
    beat.unlink(missing_ok=True)
    child = ChildProcess(
        "worker",
        [sys.executable, "-m", "serving.worker"],
        var=settings.var,
        env=child_environment(settings),
        grace_s=75,
    )
    return ProcessPart(child, ready=beat.exists)


class EnginesPart:
    """Ray with the applications of one Serve file: the head as a child, then the file is applied by Ray's REST door."""

    name = "engines"

    def __init__(self, settings: Settings, secrets: Secrets, *, settle_s: float = SETTLE_S) -> None:
        self._settings = settings
        self._settle_s = settle_s
        self._token = secrets.ray_token
        self._applied_at: float | None = None
        self._remarks: tuple[str, ...] = ()
        self._child = ChildProcess(self.name, self._command(), var=settings.var, env=self._environment(), grace_s=45)

    def _command(self) -> list[str]:
        serve = self._settings.serve
        command = [
            str(Path(sys.executable).with_name("ray")),
            "start",
            "--head",
            "--block",
            "--disable-usage-stats",
            "--no-monitor",
            "--include-log-monitor=false",
            "--dashboard-host=127.0.0.1",
            f"--port={serve.gcs_port}",
            f"--dashboard-port={serve.dashboard_port}",
            f"--dashboard-agent-listen-port={serve.agent_port}",
            f"--metrics-export-port={serve.metrics_port}",
            f"--ray-client-server-port={serve.client_port}",
            f"--min-worker-port={serve.worker_ports_from}",
            f"--max-worker-port={serve.worker_ports_from + 99}",
            f"--object-store-memory={100 * 1024 * 1024}",
            f"--temp-dir={ray_folder(self._settings.var)}",
        ]
        if sys.platform == "linux":
            # Ray replaces 127.0.0.1 by the outward address, which a laptop loses when it changes network.
            command.append("--node-ip-address=127.0.0.2")
        return command

    def _environment(self) -> dict[str, str]:
        return child_environment(self._settings) | {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self._token,
            "RAY_USAGE_STATS_ENABLED": "0",
            # Serve's own actors never leave by themselves, so every end would take the whole of it (default 30 s).
            # Songs cut off are given back to the queue by the worker.
            "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "1",
        }

    def start(self) -> None:
        """Start the head."""
        self._applied_at = None
        folder = ray_folder(self._settings.var)
        private_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        self._child.start()

    def running(self) -> bool:
        """Whether the head lives."""
        return self._child.running()

    def ready(self) -> bool:
        """Apply the Serve file once the head answers; ready as `standing_of` its applications says.

        Raises:
            ServeFileRefused, ApplicationFailed: waiting longer would not help.
        """
        if self._applied_at is None:
            if not self._apply():
                return False
            self._applied_at = time.monotonic()
        applications = (self._rest("GET") or {}).get("applications", {})
        standing = standing_of(applications, waited_s=time.monotonic() - self._applied_at, settle_s=self._settle_s)
        self._remarks = standing.remarks
        return standing.ready

    def remarks(self) -> tuple[str, ...]:
        """A sentence for each application that did not come up."""
        return self._remarks

    def stop(self) -> None:
        """Ask the head to end everything it started, and see to it."""
        self._child.stop()

    def last_words(self) -> str:
        """The end of its log."""
        return self._child.last_words()

    def _serve_file(self) -> dict[str, Any]:
        config: dict[str, Any] = yaml.safe_load(self._settings.serve.config.read_text())
        config.setdefault("http_options", {})["port"] = self._settings.serve.http_port
        return config

    def _rest(self, method: str, body: dict[str, Any] | None = None) -> dict[str, Any] | None:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._settings.serve.dashboard_port}/api/serve/applications/",
            method=method,
            data=json.dumps(body).encode() if body else None,
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - our own dashboard
                text = answer.read()
                return json.loads(text) if text else {}
        except urllib.error.HTTPError as error:
            if error.code < 500:
                raise ServeFileRefused(self._settings.serve.config, error.read().decode(errors="replace")) from None
            return None
        except (OSError, ValueError):
            return None

    def _apply(self) -> bool:
        # A head that does not answer a question yet would swallow the file.
        return self._rest("GET") is not None and self._rest("PUT", self._serve_file()) is not None


class ServeFileRefused(MelodeonError):
    """Ray does not accept the Serve file."""

    code = "serve_file_refused"

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"Ray refuses {path}: {why[:500]}")


def ray_folder(var: Path) -> Path:
    """Where Ray keeps its sockets and logs: under ``var`` unless its path is too long for a socket (107 bytes).

    Ray opens this folder to everybody; its parent, which is ours, stays closed.
    """
    inside = var / "ray" / "temp"
    if len(os.fsencode(inside)) <= LONGEST_RAY_FOLDER:
        return inside
    digest = hashlib.sha256(os.fsencode(var)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"melodeon-{digest}" / "temp"


def stack_parts(settings: Settings, secrets: Secrets) -> list[Part]:
    """The parts that make songs, in the order of starting. The pages are added by `ui`.

    Ray takes longest and needs nobody, so it begins first.
    """
    parts: list[Part] = []
    if settings.serve.gateway_url is None:
        parts.append(EnginesPart(settings, secrets))
    if settings.database.url is None:
        parts.append(PostgresPart(settings, secrets))
    return [*parts, worker_part(settings)]
