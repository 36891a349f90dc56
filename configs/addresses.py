"""Where the parts of this installation are to be reached."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import quote

from configs.secrets import Secrets
from configs.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What ``melodeon up`` has started, for the other commands: no secrets.

    Attributes:
        pid: of the supervisor.
        web_url, gateway_url: without a trailing slash; ``web_url`` is empty while no pages are served.
        database_port: of the embedded Postgres, None when another database is used.
        ray_ports: those Ray was started with, by their setting; empty when it runs elsewhere.
    """

    pid: int
    web_url: str
    gateway_url: str
    database_port: int | None
    ray_ports: dict[str, int] = field(default_factory=dict)


def database_url(settings: Settings, secrets: Secrets) -> str:
    """SQLAlchemy URL of the database: the one configured, else the embedded server's."""
    if settings.database.url is not None:
        return settings.database.url.get_secret_value()
    return (
        f"postgresql+psycopg://melodeon:{quote(secrets.database_password)}@127.0.0.1:{settings.database.port}/melodeon"
    )


def gateway_url(settings: Settings) -> str:
    """Base URL of the gateway in front of the models."""
    return settings.serve.gateway_url or f"http://127.0.0.1:{settings.serve.http_port}"


def web_url(settings: Settings) -> str:
    """Base URL of the pages, as people type it."""
    if settings.web.public_url:
        return settings.web.public_url.rstrip("/")
    return local_web_url(settings)


def local_web_url(settings: Settings) -> str:
    """Base URL of the pages on this machine, whatever stands in front of them."""
    host = "127.0.0.1" if settings.web.host in ("0.0.0.0", "::") else settings.web.host  # noqa: S104
    host = f"[{host}]" if ":" in host else host
    return f"http://{host}:{settings.web.port}"


def _running_file(var: Path) -> Path:
    return var / "run" / "running.json"


def write_running(var: Path, running: Running) -> None:
    """Tell the other commands what runs."""
    path = _running_file(var)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(f".{os.getpid()}")
    aside.write_text(json.dumps(asdict(running)))
    aside.replace(path)


def forget_running(var: Path) -> None:
    """Nothing runs any more."""
    _running_file(var).unlink(missing_ok=True)


def read_running(var: Path) -> Running | None:
    """What ``melodeon up`` has started under ``var``, or None when its supervisor does not live."""
    try:
        running = Running(**json.loads(_running_file(var).read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return running if _lives(running.pid) else None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's, but alive
        return True
    return True


def attach(settings: Settings) -> Settings:
    """The settings with the ports that are really in use, if the product runs under ``settings.var``."""
    running = read_running(settings.var)
    if running is None:
        return settings
    serve = settings.serve.model_copy(update={"gateway_url": running.gateway_url, **running.ray_ports})
    web = settings.web.model_copy(update={"public_url": running.web_url or settings.web.public_url})
    database = settings.database
    if running.database_port is not None:
        database = database.model_copy(update={"port": running.database_port})
    return settings.model_copy(update={"serve": serve, "web": web, "database": database})
