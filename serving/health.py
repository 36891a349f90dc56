"""Health: every part looked at, and for each trouble one sentence that says what is wrong and what to do."""

import shutil
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from configs.settings import Settings
from data.database import Database, head, revision
from data.object_store import ObjectStore
from data.repositories import notices, outbox, queue_health
from data.repositories.notices import Backlog
from data.repositories.outbox import Standing
from data.roles import may_edit_books
from serving.client import GatewayClient
from studio.errors import MelodeonError

LEAST_DISK_GB: Final = 2.0
STUCK_AFTER_S: Final = 120.0
LETTERS_STUCK_AFTER_S: Final = 3600.0
PAYMENTS_STUCK_AFTER_S: Final = 3600.0
PROBE_KEY: Final = "health/probe.txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One look at one part.

    Attributes:
        name: what was looked at.
        ok: whether it is as it must be. A remark with ``ok`` True needs no action.
        sentence: what was found; when not ok, also what to do.
    """

    name: str
    ok: bool
    sentence: str


def _check(name: str, look: Callable[[], str], fix: str) -> Check:
    """Run one look; its errors become the sentence, followed by what to do."""
    try:
        return Check(name=name, ok=True, sentence=look())
    except (MelodeonError, OSError, ValueError) as error:
        return Check(name=name, ok=False, sentence=f"{error} {fix}".strip())


def check_python() -> Check:
    """The interpreter is one that the product is tested with."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    fine = (3, 11) <= sys.version_info[:2] <= (3, 13)
    advice = "" if fine else " Install Python 3.11, 3.12 or 3.13 and run `make install` again."
    return Check(name="python", ok=fine, sentence=f"Python {version}.{advice}")


def check_disk(var: Path) -> Check:
    """There is room for songs (a minute of sound is about 19 MB: 17 as WAV, the rest as MP3)."""
    place = next(folder for folder in (var, *var.parents) if folder.exists())
    free_gb = shutil.disk_usage(place).free / 1e9
    fine = free_gb >= LEAST_DISK_GB
    advice = (
        "" if fine else f" At least {LEAST_DISK_GB:g} GB are wanted; free some or set MELODEON_VAR to another disk."
    )
    return Check(name="disk", ok=fine, sentence=f"{free_gb:.1f} GB free under {var}.{advice}")


def check_secrets(var: Path) -> Check:
    """Nobody else on this machine can read the secrets."""
    folder = var / "secrets"
    if not folder.is_dir():
        return Check(name="secrets", ok=False, sentence="No secrets yet; `melodeon up` makes them on its first start.")
    open_files = [path.name for path in sorted(folder.iterdir()) if stat.S_IMODE(path.stat().st_mode) & 0o077]
    if open_files:
        sentence = f"Others can read {', '.join(open_files)} in {folder}; run chmod 600 on them."
        return Check(name="secrets", ok=False, sentence=sentence)
    return Check(name="secrets", ok=True, sentence=f"The secrets in {folder} are readable only by their owner.")


def check_database(database: Database, url: str) -> Check:
    """Postgres answers and its tables are of this version."""

    def look() -> str:
        database.ping()
        have, want = revision(url), head()
        if have != want:
            raise OutdatedSchema(have, want)
        return f"Postgres answers; its tables are at revision {have}."

    return _check("database", look, "Start it with `melodeon up`, or check MELODEON_DATABASE__URL, host, port and TLS.")


class OutdatedSchema(MelodeonError):
    """The tables are of another version."""

    code = "outdated_schema"

    def __init__(self, have: str | None, want: str) -> None:
        super().__init__(
            f"The tables are at revision {have or 'none'}, this version wants {want}; run `melodeon migrate`."
        )


def check_logins(urls: Mapping[str, str]) -> Check:
    """No part of the product could change what was booked: each has a login of its own.

    Args:
        urls: how each part reaches the database, by its name.
    """

    def look() -> str:
        mighty = [part for part, url in urls.items() if _may_edit_books(url)]
        if not mighty:
            return f"{', '.join(urls)}: each has a login of its own, and none can change what was booked."
        return (
            f"{', '.join(mighty)}: the login may change everything in the database. All works; to be safer give each "
            "part a login of its own, see “Logins of the database” in docs/operators.md."
        )

    return _check("database logins", look, "Check MELODEON_DATABASE__* or run `melodeon migrate`.")


def _may_edit_books(url: str) -> bool:
    database = Database(url, pool_size=1)
    try:
        with database.transaction() as session:
            return may_edit_books(session)
    finally:
        database.dispose()


def check_store(store: ObjectStore) -> Check:
    """An object can be written, read and deleted."""

    def look() -> str:
        store.put(PROBE_KEY, b"melodeon", media_type="text/plain")
        content = b"".join(store.get(PROBE_KEY))
        store.delete(PROBE_KEY)
        if content != b"melodeon":
            raise ValueError("What was written to the object store came back changed.")
        return "The object store keeps, gives and deletes."

    return _check("object store", look, "Check MELODEON_STORE__* (endpoint, region, bucket, keys) and the free disk.")


def check_engines(gateway: GatewayClient) -> Iterator[Check]:
    """The gateway answers with our key and every application is ready."""
    try:
        answer = gateway.health()
    except MelodeonError as error:
        fix = "Start it with `melodeon up`; the log is var/log/engines.log. A 401 means another gateway key."
        yield Check(name="gateway", ok=False, sentence=f"{error} {fix}")
        return
    yield Check(name="gateway", ok=True, sentence="The gateway answers.")
    for name, application in sorted(answer.applications.items()):
        fine = application.ready
        advice = "" if fine else " It may still be loading; else see the Ray dashboard and var/log/engines.log."
        state = "is ready" if fine else "is not ready"
        yield Check(name=f"engine {name}", ok=fine, sentence=f"{name} {state}.{advice}")


def check_worker(database: Database) -> Check:
    """A worker lives and no song waits for nothing."""

    def look() -> str:
        with database.transaction() as session:
            beat_s = queue_health.newest_worker_beat_s(session)
            waiting_s = queue_health.longest_wait_s(session)
        if beat_s is None or beat_s > STUCK_AFTER_S:
            raise NoWorker(waiting_s)
        if waiting_s is not None and waiting_s > STUCK_AFTER_S:
            return f"A worker lives; the longest wait in the queue is {waiting_s:.0f} s (all engines may be busy)."
        return "A worker lives; nobody waits long."

    return _check("worker", look, "Start it with `melodeon up`; the log is var/log/worker.log.")


class NoWorker(MelodeonError):
    """Nobody works on the queue."""

    code = "no_worker"

    def __init__(self, waiting_s: float | None) -> None:
        waits = f" A song has waited for {waiting_s:.0f} s." if waiting_s else ""
        super().__init__(f"No worker has shown a sign of life.{waits}")


def check_letters(database: Database) -> Check:
    """Letters go out. One that a mail server refuses for good is a remark; that none goes at all is a fault."""

    def look() -> str:
        with database.transaction() as session:
            standing = outbox.standing(session)
        if standing.lost_lately or (standing.oldest_s or 0.0) > LETTERS_STUCK_AFTER_S:
            raise LettersStuck(standing)
        waits = _counted(standing.waiting, "letter waits", "letters wait")
        if not standing.given_up:
            return f"{waits}, none was given up in the last 30 days."
        lost = _counted(standing.given_up, "was given up", "were given up")
        return f"{waits}. {lost} in the last 30 days; var/log/worker.log says why under “letter not sent”."

    return _check("letters", look, "Check MELODEON_MAIL__*; var/log/worker.log says why under “letter not sent”.")


class LettersStuck(MelodeonError):
    """No letter gets out of the house."""

    code = "letters_stuck"

    def __init__(self, standing: Standing) -> None:
        waits = _counted(standing.waiting, "letter waits", "letters wait")
        oldest = f", the oldest for {standing.oldest_s / 3600:.0f} h" if standing.oldest_s else ""
        lost = f"; {standing.lost_lately} given up since yesterday after three days" if standing.lost_lately else ""
        super().__init__(f"{waits}{oldest}{lost}.")


def check_payments(database: Database) -> Check:
    """What Stripe told is handled. A message that was given up may be credits that somebody paid for."""

    def look() -> str:
        with database.transaction() as session:
            backlog = notices.backlog(session)
        if backlog.dead or (backlog.oldest_s or 0.0) > PAYMENTS_STUCK_AFTER_S:
            raise PaymentsStuck(backlog)
        return f"{_counted(backlog.waiting, 'message', 'messages')} of Stripe to be handled, none was given up."

    fix = "`melodeon billing dead` says why, `melodeon billing replay` has them handled again; see var/log/worker.log."
    return _check("payments", look, fix)


class PaymentsStuck(MelodeonError):
    """Messages of Stripe are not handled."""

    code = "payments_stuck"

    def __init__(self, backlog: Backlog) -> None:
        oldest = f", the oldest for {backlog.oldest_s / 3600:.0f} h" if backlog.oldest_s else ""
        waits = _counted(backlog.waiting, "message of Stripe waits", "messages of Stripe wait")
        super().__init__(f"{waits}{oldest}; {_counted(backlog.dead, 'was', 'were')} given up.")


def _counted(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def check_address(web_url: str, host: str) -> Check:
    """The session cookie is as safe as the address allows.

    Args:
        web_url: as people type it.
        host: the interface the pages listen on.
    """
    here = host in ("127.0.0.1", "::1", "localhost")
    if web_url.startswith("https://") or (here and urlsplit(web_url).hostname in ("127.0.0.1", "::1", "localhost")):
        return Check(name="address", ok=True, sentence=f"People reach the pages at {web_url}.")
    sentence = (
        f"People reach the pages at {web_url} on {host} without https: the session cookie crosses the network in the "
        "clear. "
        "Put a proxy with a certificate in front and set MELODEON_WEB__PUBLIC_URL to its https address."
    )
    return Check(name="address", ok=False, sentence=sentence)


def check_ray_ports(settings: Settings) -> Check:
    """Ray's own ports listen on every interface; the token protects them, a firewall should too."""
    if settings.serve.gateway_url is not None and not (settings.var / "ray").exists():
        return Check(name="ray ports", ok=True, sentence="No Ray is started on this machine.")
    first = settings.serve.worker_ports_from
    sentence = (
        f"Ray listens on every interface (ports {settings.serve.gcs_port}, {settings.serve.metrics_port} and "
        f"{first}-{first + 99}, and some that change with every start); a token is required, and on a shared network a "
        "firewall should admit only the port of the pages."
    )
    return Check(name="ray ports", ok=True, sentence=sentence)


def quick_checks(settings: Settings, database: Database, store: ObjectStore, gateway: GatewayClient) -> list[Check]:
    """What must be well for people to make songs."""

    def reach() -> str:
        database.ping()
        return "Postgres answers."

    def keep() -> str:
        store.ping()
        return "The object store answers."

    checks = [_check("database", reach, ""), _check("object store", keep, "")]
    if checks[0].ok:
        checks.append(check_worker(database))
    return [*checks, *check_engines(gateway), check_disk(settings.var)]


def all_checks(
    settings: Settings,
    *,
    database: Database,
    database_url: str,
    logins: Mapping[str, str],
    store: ObjectStore,
    gateway: GatewayClient,
    web_url: str,
) -> list[Check]:
    """Every check, for ``melodeon doctor``."""
    database_check = check_database(database, database_url)
    return [
        check_python(),
        check_disk(settings.var),
        check_secrets(settings.var),
        database_check,
        *(
            [check_logins(logins), check_worker(database), check_letters(database), check_payments(database)]
            if database_check.ok
            else []
        ),
        check_store(store),
        *check_engines(gateway),
        check_address(web_url, settings.web.host),
        check_ray_ports(settings),
    ]
