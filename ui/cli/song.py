"""``melodeon song``: make a song from the command line, by the same road as the pages."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from billing import ledger
from configs.addresses import attach, read_running
from configs.logs import configure
from configs.secrets import load_or_create
from configs.settings import Settings, settings
from data.repositories import songs
from serving import accounts, catalogue, jobs
from serving.api.services import Services, open_services
from studio.words.account import Account
from studio.words.brief import Brief, BriefMode, Controls, UnfitBrief
from studio.words.ids import JobId
from studio.words.job import Job, JobState
from studio.words.song import Song
from ui.cli.song_files import save_song
from ui.cli.up import running_stack

EXIT_NO_CREDITS = 3
LOOK_EVERY_S = 0.25


@click.command()
@click.argument("prompt")
@click.option("--lyrics", type=click.Path(path_type=Path, dir_okay=False), help="File with your own lyrics.")
@click.option("--instrumental", is_flag=True, help="No voice.")
@click.option("--duration", "duration_s", type=float, help="Length in seconds.")
@click.option("--bpm", "tempo_bpm", type=int, help="Tempo, 30 to 300.")
@click.option("--key", help='Key, for example "A minor".')
@click.option("--seed", type=int, help="The same seed makes the same songs.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("songs"), show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
def song(  # noqa: PLR0917 - click passes every option
    prompt: str,
    lyrics: Path | None,
    instrumental: bool,
    duration_s: float | None,
    tempo_bpm: int | None,
    key: str | None,
    seed: int | None,
    out: Path,
    as_json: bool,
) -> None:
    """Make two takes of a song from PROMPT and save them under --out."""
    controls = Controls(duration_s=duration_s, tempo_bpm=tempo_bpm, key=key, seed=seed)
    brief = _brief(prompt, lyrics, instrumental=instrumental, controls=controls)
    brief.check_texts()
    catalogue.spec_of(catalogue.default_engine(brief.kind)).fit(brief)
    with _product() as chosen:
        services = open_services(chosen, load_or_create(chosen.var))
        try:
            sys.exit(_make(services, brief, out, as_json=as_json))
        finally:
            services.database.dispose()


def _brief(prompt: str, lyrics: Path | None, *, instrumental: bool, controls: Controls) -> Brief:
    if lyrics is None:
        return Brief(description=prompt, instrumental=instrumental, controls=controls)
    try:
        text = lyrics.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UnfitBrief("lyrics", f"The lyrics in {lyrics} cannot be read: {error}") from None
    return Brief(mode=BriefMode.LYRICS, prompt=prompt, lyrics=text, instrumental=instrumental, controls=controls)


@contextmanager
def _product() -> Iterator[Settings]:
    """The running product, or one started for this command and ended after it."""
    chosen = settings()
    configure(chosen.logs.model_copy(update={"level": "WARNING"}), part="cli")
    if read_running(chosen.var) is not None:
        yield attach(chosen)
        return
    click.echo(f"Starting Melodeon under {chosen.var} …", err=True)
    secrets = load_or_create(chosen.var)
    with running_stack(chosen, secrets, with_web=False, say=lambda line: click.echo(line, err=True)) as used:
        yield used


def _make(services: Services, brief: Brief, out: Path, *, as_json: bool) -> int:
    with services.database.transaction() as session:
        account = accounts.local_account(session, signup_credits=services.settings.signup_credits, now=services.now())
    before = _credits(services, account)
    job = services.ask(account, brief, key=f"cli:{services.draw_key()}")
    if job.state is JobState.NO_CREDITS:
        click.echo(
            f"This costs {job.price_credits} credits and the account {account.name} has {before}. "
            f"`melodeon credits grant {account.name} 100` helps.",
            err=True,
        )
        return EXIT_NO_CREDITS
    job = _wait(services, account, job.id)
    made = _songs(services, job)
    files = [save_song(services.store, song, out) for song in made if song.status is JobState.PROCESSED]
    after = _credits(services, account)
    if as_json:
        click.echo(json.dumps({"request": job.id, "songs": files, "credits": {"before": before, "after": after}}))
    else:
        _tell(files, out)
    if job.state is not JobState.PROCESSED:
        click.echo(f"The request ended as {job.state.value}: {job.reason}", err=True)
        return 1
    return 0


def _credits(services: Services, account: Account) -> int:
    with services.database.transaction() as session:
        return ledger.balance(session, account.id).available_credits


def _songs(services: Services, job: Job) -> list[Song]:
    with services.database.transaction() as session:
        found = [songs.by_id(session, song_id) for song_id in job.song_ids]
    return [song for song in found if song is not None]


def _wait(services: Services, account: Account, job_id: JobId) -> Job:
    """Show the job's progress on standard error until it has ended; Ctrl-C cancels it."""
    columns = (TextColumn("{task.description:<44}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task("waiting for a turn", total=1.0)
        try:
            while True:
                with services.database.transaction() as session:
                    job = jobs.get(session, account, job_id)
                bar.update(task, completed=job.progress, description=job.message or job.state.value)
                if job.state.ended:
                    return job
                time.sleep(LOOK_EVERY_S)
        except KeyboardInterrupt:
            with services.database.transaction() as session:
                jobs.cancel(session, account, job_id, now=services.now())
            raise


def _tell(files: list[dict[str, Any]], out: Path) -> None:
    for made in files:
        click.echo(f"{made['title']}  ({made['engine']}, seed {made['seed']}, {made['duration_s']:.1f} s)")
        for path in made["files"].values():
            click.echo(f"  {path}")
    click.echo(f"AI-generated. Saved under {out.absolute()}.", err=True)
