"""What strangers could reach: the looks of ``melodeon doctor --security``.

Each look tries the door as somebody without a key would, and changes nothing even where it finds it open.
"""

import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

import psutil

from configs.addresses import Running
from configs.settings import Settings
from serving.health import Check

_TIMEOUT_S: Final = 5.0
_REFUSED: Final = (401, 403)
RAY_DOORS: Final = (
    ("GET", "/api/jobs/"),
    ("POST", "/api/jobs/"),
    ("GET", "/api/serve/applications/"),
    ("PUT", "/api/serve/applications/"),
    ("GET", "/nodes?view=summary"),
    ("GET", "/logical/actors"),
    ("GET", "/api/v0/tasks"),
    ("GET", "/api/cluster_status"),
)
"""Doors of Ray's dashboard that tell or do something. A job run by a stranger is code run by a stranger."""


def check_ray(dashboard_url: str) -> Check:
    """Every door of Ray's dashboard turns away whoever brings no token."""
    name = "ray's doors"
    answers = {f"{method} {path}": _status(method, dashboard_url + path, b"{}") for method, path in RAY_DOORS}
    silent = [door for door, status in answers.items() if status is None]
    if silent:
        sentence = f"Ray's dashboard at {dashboard_url} does not answer; start Melodeon and look again."
        return Check(name=name, ok=False, sentence=sentence)
    open_doors = [door for door, status in answers.items() if status not in _REFUSED]
    if open_doors:
        sentence = f"Without a token Ray answers {', '.join(open_doors)}; start it with RAY_AUTH_MODE=token."
        return Check(name=name, ok=False, sentence=sentence)
    return Check(name=name, ok=True, sentence=f"Without a token Ray turns all {len(answers)} doors away.")


def check_gateway(gateway_url: str) -> Check:
    """The gateway turns away whoever brings no key."""
    status = _status("GET", f"{gateway_url}/health")
    if status in _REFUSED:
        return Check(name="gateway's door", ok=True, sentence="Without its key the gateway turns everybody away.")
    found = "does not answer" if status is None else f"answers {status}"
    sentence = f"Without its key the gateway at {gateway_url} {found}; it must refuse with 401."
    return Check(name="gateway's door", ok=False, sentence=sentence)


def check_pages(web_url: str) -> Iterator[Check]:
    """The pages carry the headers that keep strangers' scripts out, and a writing door refuses other sites."""
    headers = _headers(web_url)
    wanted = ("content-security-policy", "x-content-type-options", "referrer-policy")
    lacking = [name for name in wanted if name not in headers]
    yield Check(
        name="headers of pages",
        ok=not lacking,
        sentence=f"{web_url} lacks {', '.join(lacking)}; a proxy in front may remove them."
        if lacking
        else "The pages carry a content security policy and its companions.",
    )
    status = _status("POST", f"{web_url}/api/v1/auth/session", b"{}", {"Sec-Fetch-Site": "cross-site"})
    yield Check(
        name="other sites",
        ok=status == 403,
        sentence="A page of another site cannot act with somebody's cookie."
        if status == 403
        else f"A request from another site's page was answered {status}, not 403; look at the proxy in front.",
    )


def check_listeners(running: Running, settings: Settings) -> Check:
    """Whatever Melodeon's processes listen on beyond this machine is known and meant: Ray, and pages told to."""
    name, found = "open ports", outward_ports(running.pid)
    web = settings.web
    pages = set() if web.host in ("127.0.0.1", "::1", "localhost") else {web.port}
    strange = found.ours - pages
    if strange:
        sentence = f"Ports {_listed(strange)} are open beyond this machine and nobody meant them; close them."
        return Check(name=name, ok=False, sentence=sentence)
    if found.ray:
        sentence = (
            f"Ray listens beyond this machine on {_listed(found.ray)}, each behind its token. Some change with every "
            "start: let a firewall admit only the port of the pages."
        )
        return Check(name=name, ok=True, sentence=sentence)
    return Check(name=name, ok=True, sentence="No part but the pages listens beyond this machine.")


@dataclass(frozen=True, slots=True, kw_only=True)
class OutwardPorts:
    """TCP ports beyond the loopback address: those of Ray's processes, and those of our own."""

    ray: set[int]
    ours: set[int]


def outward_ports(pid: int) -> OutwardPorts:
    """What this process and those below it listen on beyond this machine."""
    root = psutil.Process(pid)
    family = [root, *root.children(recursive=True)]
    rays = {process.pid for head in family if _is_ray_head(head) for process in head.children(recursive=True)}
    ports = OutwardPorts(ray=set(), ours=set())
    for process in family:
        try:
            sockets = process.net_connections(kind="tcp")
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        listening = (one.laddr for one in sockets if one.status == psutil.CONN_LISTEN)
        outward = {address.port for address in listening if not ip_address(address.ip).is_loopback}
        (ports.ray if process.pid in rays else ports.ours).update(outward)
    return ports


def _is_ray_head(process: psutil.Process) -> bool:
    try:
        words = process.cmdline()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
    return "start" in words and "--head" in words


def _listed(ports: set[int]) -> str:
    return ", ".join(map(str, sorted(ports)))


def security_checks(settings: Settings, running: Running) -> list[Check]:
    """Everything that strangers could try on this machine."""
    checks = [*check_pages(running.web_url)] if running.web_url else []
    checks.append(check_gateway(running.gateway_url))
    if running.ray_ports:
        checks.append(check_ray(f"http://127.0.0.1:{settings.serve.dashboard_port}"))
    return [*checks, check_listeners(running, settings)]


def _status(method: str, url: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> int | None:
    """The status that a stranger gets; None: no answer."""
    json_body = {"Content-Type": "application/json"} if body else {}
    given = body if method not in ("GET", "HEAD") else None
    request = urllib.request.Request(url, method=method, data=given, headers={**json_body, **(headers or {})})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - an address of our own
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def _headers(url: str) -> set[str]:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - an address of our own
            return {name.lower() for name in answer.headers}
    except OSError:
        return set()
