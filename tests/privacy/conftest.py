"""A person who has left a trace in every table, with the same odd word in everything they ever typed."""

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from data.database import Session
from data.repositories import (
    accounts,
    api_keys,
    audit,
    avatars,
    identities,
    outbox,
    second_factors,
    sessions,
    verifications,
)
from data.repositories import songs as song_rows
from data.repositories.job_songs import MadeTake
from serving import attempts
from serving.api.services import Services
from studio.words.account import Account
from studio.words.api_key import Scope
from studio.words.asset import AssetRole
from studio.words.brief import Brief, BriefMode, Controls
from studio.words.ids import SongId
from studio.words.job import Job, Stage
from studio.words.letter import LetterKind, TokenPurpose

WORD = "quixotl"
"""Stands in everything the person typed and everywhere nobody else's is."""

SOUND = {
    AssetRole.WAV: "audio/wav",
    AssetRole.STREAM: "audio/mpeg",
    AssetRole.PEAKS: "application/json",
    AssetRole.COVER: "image/png",
    AssetRole.COVER_512: "image/webp",
    AssetRole.COVER_128: "image/webp",
}


@dataclass(frozen=True)
class Person:
    """Somebody with things of their own.

    Attributes:
        songs: finished; the first is published.
        working, waiting: Jobs in process and in the queue.
    """

    account: Account
    songs: tuple[SongId, ...]
    working: Job
    waiting: Job


MakePerson = Callable[..., Person]


@pytest.fixture
def make_person(services: Services, make_account: Callable[..., Account]) -> MakePerson:
    """Makes people: ``make_person("ada", "their word")``. The first account of all is somebody else, the admin."""
    make_account("first")
    return lambda name, word: _person(services, make_account(name), word)


def _person(services: Services, account: Account, word: str) -> Person:
    numbers = itertools.count(1)

    def ask() -> Job:
        brief = Brief(mode=BriefMode.LYRICS, prompt=f"{word} folk", lyrics=f"[verse]\n{word} by the sea", title=word)
        brief = replace(brief, controls=Controls(seed=next(numbers)))
        return services.ask(account, brief, key=f"{word} key {brief.controls.seed}")

    done = ask()
    _finish(services, account, done, word)
    working, waiting = ask(), ask()
    with services.database.transaction() as session:
        claimed = attempts.claim(session, account.id, lease_s=30.0)
        assert claimed is not None
        attempts.note_progress(
            session, working.id, claimed.attempt, stage=Stage.TEXT, fraction=0.1, message=f"{word}!", stages={}
        )
        attempts.save_stage(session, working.id, claimed.attempt, name="text", result={"lyrics": f"{word} again"})
        song_rows.publish(session, done.song_ids[0])
    _prove_who_they_are(services, account, word)
    picture = services.store.put(f"avatars/{account.id}/0.webp", f"{word} smiles".encode(), media_type="image/webp")
    with services.database.transaction() as session:
        avatars.replace(session, account.id, picture)
        found = accounts.by_id(session, account.id)
    assert found is not None
    return Person(account=found, songs=done.song_ids, working=working, waiting=waiting)


def _finish(services: Services, account: Account, job: Job, word: str) -> None:
    with services.database.transaction() as session:
        claimed = attempts.claim(session, account.id, lease_s=30.0)
    assert claimed is not None
    takes = [
        MadeTake(
            index=index,
            assets={
                role: services.store.put(
                    f"songs/{account.id}/{job.id}/1/{index}.{role.value.replace('_', '-')}",
                    f"{word} {index} {role.value}".encode(),
                    media_type=media_type,
                )
                for role, media_type in SOUND.items()
            },
            title=f"{word} / ../Harbour",
            prompt=f"{word} folk",
            lyrics=f"{word} by the sea",
            engine="builtin-song",
            engine_version="1",
            seed=7,
            tags=("folk",),
            provenance={"asked": word},
        )
        for index in (0, 1)
    ]
    with services.database.transaction() as session:
        attempts.finish(session, job.id, claimed.attempt, takes, now=services.now())


def _prove_who_they_are(services: Services, account: Account, word: str) -> None:
    """Sessions, keys, other identities, a second factor, letters, payments: a row wherever one can stand."""
    with services.database.transaction() as session:
        accounts.set_proved_email(session, account.id, f"{word}@example.org")
        begun = sessions.begin(session, account.id, days=1)
        sessions.redeem_ticket(session, begun.ticket, user_agent=f"{word} browser")
        sessions.begin(session, account.id, days=1)
        api_keys.make(session, account.id, f"{word} script", {Scope.READ}, services.now() + timedelta(days=2))
        identities.link(session, account.id, f"https://{word}.example.org", word)
        second_factors.begin(session, account.id, "JBSWY3DPEHPK3PXP", services.box)
        second_factors.confirm(session, account.id, ("aaaa-bbbb-cccc",))
        verifications.expect(session, account.id, TokenPurpose.VERIFY, f"{word}2@example.org")
        outbox.put(session, LetterKind.VERIFY_EMAIL, f"{word}2@example.org", account.id)
        outbox.put(session, LetterKind.PASSWORD_CHANGED, f"{word}@example.org", None)
        audit.note(session, account.id, "key_made", account.id)
        _pay(session, account)


def _pay(session: Session, account: Account) -> None:
    """What somebody bought, what was taken back of it, and what Stripe told."""
    told = {"customer": f"cus_{account.id}"}
    for statement in (
        "INSERT INTO purchase (id, account_id, item, credits, amount_minor, currency, created_at)"
        " VALUES ('cs_' || :account, :account, 'pack_small', 10, 100, 'usd', now())",
        "INSERT INTO reversal (id, purchase_id, kind, subject, credits, created_at)"
        " VALUES ('re_' || :account, 'cs_' || :account, 'refund', 're_1', 3, now())",
        "INSERT INTO subscription (id, account_id, plan, status, cancel_at_period_end)"
        " VALUES ('sub_' || :account, :account, 'pro', 'canceled', false)",
        "INSERT INTO notice (id, type, created_at, payload, next_at, received_at)"
        " VALUES ('evt_' || :account, 'checkout.session.completed', now(), CAST(:told AS jsonb), now(), now())",
    ):
        session.execute(text(statement), {"account": account.id, "told": json.dumps(told)})
