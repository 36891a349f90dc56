"""``melodeon backup`` and ``melodeon restore``."""

import json
import secrets as random_secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import click

from configs.addresses import database_url, login_passwords, read_running
from configs.logs import configure
from configs.secrets import load_or_create
from configs.settings import Settings, settings
from data import backup as backups
from data.database import Database
from data.embedded_postgres import EmbeddedPostgres, free_port
from data.folder_store import FolderStore
from data.object_store import ObjectStore, open_store
from data.restore import PlaceTaken, Proof, check, prove
from data.restore import restore as bring_back
from ui.cli.session import operator_services


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), required=False)
@click.option("--without-secrets", is_flag=True, help="Leave out what opens the installation (var/secrets).")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of sentences.")
def backup(folder: Path | None, *, without_secrets: bool, as_json: bool) -> None:
    """Back up database, objects and secrets into FOLDER (var/backups). The product may run meanwhile."""
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
    check(folder)
    if verify:
        with _scratch_place() as (url, store):
            proof = _restored(folder, url, store, {})
    else:
        proof = _restore_here(folder, chosen)
    if as_json:
        click.echo(json.dumps({"ok": not proof.faults, **asdict(proof)}))
    else:
        words = "would come back" if verify else "came back"
        click.echo(f"{proof.rows:,} rows and {proof.objects:,} objects {words}; {proof.orphans:,} orphans.")
        for fault in proof.faults:
            click.echo(fault, err=True)
    if proof.faults:
        raise SystemExit(1)


def _restore_here(folder: Path, chosen: Settings) -> Proof:
    """Into the place that the settings name."""
    if read_running(chosen.var) is not None:
        raise PlaceTaken("Melodeon runs here; stop it first.")
    if chosen.database.url is None and (chosen.var / "postgres").exists():
        raise PlaceTaken(f"There is a database in {chosen.var / 'postgres'} already.")
    if (folder / "secrets").is_dir() and not (chosen.var / "secrets").exists():
        chosen.var.mkdir(parents=True, exist_ok=True)
        shutil.copytree(folder / "secrets", chosen.var / "secrets")
    secrets = load_or_create(chosen.var)
    store = open_store(chosen.store, var=chosen.var, link_key=secrets.link_key)
    if chosen.database.url is not None:
        return _restored(folder, database_url(chosen, secrets, role="owner"), store, {})
    with _server(chosen.var / "postgres", chosen.database.port, secrets.database_password, chosen.var / "log") as url:
        return _restored(folder, url, store, login_passwords(secrets))


def _restored(folder: Path, url: str, store: ObjectStore, passwords: dict[str, str]) -> Proof:
    bring_back(folder, url, store, passwords=passwords or None)
    database = Database(url, application_name="melodeon restore")
    try:
        return prove(folder, database, store)
    finally:
        database.dispose()


@contextmanager
def _scratch_place() -> Iterator[tuple[str, ObjectStore]]:
    """An empty database and store that vanish afterwards."""
    place = Path(tempfile.mkdtemp(prefix="melodeon-restore-"))
    place.chmod(0o755)  # the unprivileged user that Postgres runs as, when root asks, must get in
    try:
        with _server(place / "postgres", free_port(), random_secrets.token_urlsafe(16), place) as url:
            yield url, FolderStore(place / "objects", random_secrets.token_urlsafe(16))
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextmanager
def _server(folder: Path, port: int, password: str, logs: Path) -> Iterator[str]:
    server = EmbeddedPostgres(folder=folder, port=port, password=password, log=logs / "postgres.log")
    server.start()
    try:
        yield server.url
    finally:
        server.stop()
