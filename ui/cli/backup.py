"""``melodeon backup`` and ``melodeon restore``."""

import json
import secrets as random_secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from threading import Event

import click

from configs.addresses import database_url, login_passwords, read_running
from configs.logs import configure
from configs.secrets import Secrets, load_or_create
from configs.settings import Settings, settings
from data import backup as backups
from data.database import Database, migrate
from data.embedded_postgres import EmbeddedPostgres, free_port
from data.folder_store import FolderStore
from data.object_store import ObjectStore, open_store
from data.restore import PlaceTaken, Proof, check, prove
from data.restore import restore as bring_back
from data.running_backup import RunningBackup, chains_of
from data.running_restore import bring_objects, prove_kept, recover
from studio.errors import MelodeonError
from ui.cli.session import operator_services


class OwnPostgres(MelodeonError):
    """A backup that is kept up holds the files of the embedded Postgres, and of no other."""

    code = "own_postgres"

    def __init__(self) -> None:
        super().__init__(
            "A backup that is kept up is of the embedded Postgres, but MELODEON_DATABASE__URL names another one. "
            "Let that server archive its log with its own tools (docs/operators.md)."
        )


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), required=False)
@click.option("--without-secrets", is_flag=True, help="Leave out what opens the installation (var/secrets).")
@click.option("--follow", is_flag=True, help="Keep a backup up in FOLDER until Ctrl-C (embedded Postgres only).")
@click.option("--every", "every_s", type=click.FloatRange(1.0), default=60.0, help="With --follow: seconds (60).")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of sentences.")
def backup(folder: Path | None, *, without_secrets: bool, follow: bool, every_s: float, as_json: bool) -> None:
    """Back up database, objects and secrets into FOLDER (var/backups). The product may run meanwhile.

    With --follow every minute becomes a moment that a restore can come back to. It is a folder of its own kind.
    """
    if follow:
        if folder is None or without_secrets:
            raise click.UsageError("--follow wants a FOLDER of its own, and its secrets always go along.")
        keep_up(folder, every_s=every_s, as_json=as_json)
        return
    with operator_services() as services:
        chosen = services.settings
        place, manifest = backups.take(
            services.database.conninfo,
            services.store,
            folder or chosen.var / "backups",
            secrets=None if without_secrets else chosen.var / "secrets",
            version=metadata.version("melodeon"),
            now=datetime.now(UTC),
        )
    if as_json:
        click.echo(json.dumps({"folder": str(place), **asdict(manifest)}))
    else:
        rows, size_mb = sum(manifest.rows.values()), manifest.objects_bytes / 1e6
        click.echo(f"{place}: {rows:,} rows and {manifest.objects:,} objects ({size_mb:,.1f} MB).")
        for key in manifest.missing:
            click.echo(f"Missing or damaged in the store, so not in the backup: {key}", err=True)
    if manifest.missing:
        raise SystemExit(1)


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--verify", is_flag=True, help="Restore into a temporary place, compare, and throw it away.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of sentences.")
def restore(folder: Path, *, verify: bool, as_json: bool) -> None:
    """Bring the backup in FOLDER back into an empty installation, and prove that it is whole."""
    chosen = settings()
    configure(chosen.logs.model_copy(update={"level": "WARNING"}), part="cli")
    kept_up = bool(chains_of(folder))
    if not kept_up:
        check(folder)
    proof = _tried(folder, kept_up=kept_up) if verify else _restore_here(folder, chosen, kept_up=kept_up)
    if as_json:
        click.echo(json.dumps({"ok": not proof.faults, **asdict(proof)}))
    else:
        words = "would come back" if verify else "came back"
        click.echo(f"{proof.rows:,} rows and {proof.objects:,} objects {words}; {proof.orphans:,} orphans.")
        for fault in proof.faults:
            click.echo(fault, err=True)
    if proof.faults:
        raise SystemExit(1)


def keep_up(folder: Path, *, every_s: float, as_json: bool) -> None:
    """Make one mark after the other until the process is told to end."""
    if settings().database.url is not None:
        raise OwnPostgres
    over = Event()
    for told in (signal.SIGINT, signal.SIGTERM):
        signal.signal(told, lambda *_: over.set())
    kept = RunningBackup(folder, version=metadata.version("melodeon"))
    next_s = time.monotonic()
    while not over.wait(max(0.0, next_s - time.monotonic())):
        next_s = time.monotonic() + every_s
        try:
            with operator_services() as services:  # anew each time: where the product is to be reached may change
                secrets = services.settings.var / "secrets"
                mark = kept.mark(services.database.conninfo, services.store, secrets=secrets, now=datetime.now(UTC))
        except MelodeonError as error:
            click.echo(error.sentence, err=True)
            continue
        if as_json:
            click.echo(json.dumps(asdict(mark)))
        else:
            click.echo(f"{mark.taken_at}: {mark.objects:,} objects, {mark.missing:,} missing in the store.")


def _restore_here(folder: Path, chosen: Settings, *, kept_up: bool) -> Proof:
    """Into the place that the settings name."""
    if read_running(chosen.var) is not None:
        raise PlaceTaken("Melodeon runs here; stop it first.")
    if chosen.database.url is None and (chosen.var / "postgres").exists():
        raise PlaceTaken(f"There is a database in {chosen.var / 'postgres'} already.")
    if kept_up and chosen.database.url is not None:
        raise OwnPostgres
    if (folder / "secrets").is_dir() and not (chosen.var / "secrets").exists():
        chosen.var.mkdir(parents=True, exist_ok=True)
        shutil.copytree(folder / "secrets", chosen.var / "secrets")
    secrets = load_or_create(chosen.var)
    store = open_store(chosen.store, var=chosen.var, link_key=secrets.link_key)
    if chosen.database.url is not None:
        return _restored(folder, database_url(chosen, secrets, role="owner"), store, {})
    place, port = chosen.var / "postgres", chosen.database.port
    if kept_up:
        return _recovered(folder, place, store, secrets, port=port, logs=chosen.var / "log")
    with _server(place, port, secrets.database_password, chosen.var / "log") as url:
        return _restored(folder, url, store, login_passwords(secrets))


def _tried(folder: Path, *, kept_up: bool) -> Proof:
    """Into a temporary place that vanishes afterwards."""
    place = Path(tempfile.mkdtemp(prefix="melodeon-restore-"))
    place.chmod(0o755)  # the unprivileged user that Postgres runs as, when root asks, must get in
    store = FolderStore(place / "objects", random_secrets.token_urlsafe(16))
    try:
        if kept_up:
            shutil.copytree(folder / "secrets", place / "secrets")
            return _recovered(folder, place / "postgres", store, load_or_create(place), port=free_port(), logs=place)
        with _server(place / "postgres", free_port(), random_secrets.token_urlsafe(16), place) as url:
            return _restored(folder, url, store, {})
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _restored(folder: Path, url: str, store: ObjectStore, passwords: dict[str, str]) -> Proof:
    bring_back(folder, url, store, passwords=passwords or None)
    with _opened(url) as database:
        return prove(folder, database, store)


def _recovered(folder: Path, place: Path, store: ObjectStore, secrets: Secrets, *, port: int, logs: Path) -> Proof:
    logs.mkdir(parents=True, exist_ok=True)
    recover(folder, place, port=port, password=secrets.database_password, log=logs / "postgres.log")
    with _server(place, port, secrets.database_password, logs) as url:
        migrate(url, login_passwords(secrets))
        with _opened(url) as database:
            bring_objects(folder, database, store)
            return prove_kept(folder, database, store)


@contextmanager
def _opened(url: str) -> Iterator[Database]:
    database = Database(url, application_name="melodeon restore")
    try:
        yield database
    finally:
        database.dispose()


@contextmanager
def _server(folder: Path, port: int, password: str, logs: Path) -> Iterator[str]:
    server = EmbeddedPostgres(folder=folder, port=port, password=password, log=logs / "postgres.log")
    server.start()
    try:
        yield server.url
    finally:
        server.stop()
