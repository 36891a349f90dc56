"""What a request leaves behind: a Job and its Songs, written by one statement to save a round trip."""

import json
from collections.abc import Sequence
from typing import Final

from data.database import Session
from data.ids import new_id
from data.repositories.briefs import brief_to_json
from data.repositories.jobs import job_of, sql
from studio.words.brief import Brief
from studio.words.ids import AccountId, JobId, SongId
from studio.words.job import Job, JobState

_INSERT: Final = sql(
    "WITH made AS ("
    " INSERT INTO job (id, account_id, kind, state, brief, price_credits, idempotency_key, request_hash, trace_id,"
    "                  reason, reason_code, finished_at)"
    " VALUES (:id, :account_id, :kind, :state, CAST(:brief AS jsonb), :price_credits, :key, :request_hash, :trace_id,"
    "         :reason, :reason_code, CASE WHEN :ended THEN statement_timestamp() END)"
    " RETURNING *),"
    " songs AS ("
    " INSERT INTO song (id, account_id, job_id, take_index, status, title, prompt, description, lyrics,"
    "                   described_lyrics, instrumental, engine, seed, steps, guidance_scale, tempo_bpm, key, reason)"
    " SELECT take.id, :account_id, :id, take.index, :state, :title, :prompt, :description, :lyrics,"
    "        :described_lyrics, :instrumental, :engine, take.seed, :steps, take.guidance_scale, :tempo_bpm, :music_key,"
    "        :reason"
    " FROM jsonb_to_recordset(CAST(:takes AS jsonb))"
    "      AS take(id text, index smallint, seed bigint, guidance_scale float8))"
    " SELECT made.*, {tell}, NULL AS stage, NULL AS fraction, NULL AS message, CAST(:song_ids AS text[]) AS song_ids"
    " FROM made"
)


def new_song_ids(takes: int) -> tuple[SongId, ...]:
    """Ids for the Songs of one Job, in the order of its takes.

    Lists show the newest first and break ties by id: so that the first take stands first, it gets the largest.
    """
    return tuple(SongId(song_id) for song_id in sorted((new_id("song") for _ in range(takes)), reverse=True))


def insert(
    session: Session,
    *,
    job_id: JobId,
    account_id: AccountId,
    brief: Brief,
    song_ids: Sequence[SongId],
    uses_guidance: bool,
    state: JobState,
    price_credits: int,
    key: str,
    request_hash: str,
    trace_id: str,
    reason: str,
    reason_code: str,
) -> Job:
    """Add a Job, ready at once, and a Song for each of its takes; answers the Job without reading it again.

    Args:
        session: the caller's transaction.
        job_id: a new id.
        account_id: whose Job and Songs.
        brief: what was asked for.
        song_ids: of `new_song_ids`, one for each take; each Song gets its take's own seed.
        uses_guidance: whether each Song gets its take's own guidance too.
        state: of the Job and of every Song.
        price_credits: of all takes together.
        key: idempotency key, new in this account.
        request_hash: of what was asked for.
        trace_id: stands on every log line of the request.
        reason: for the owner, with its ``reason_code``; empty when nothing is amiss.
    """
    takes = [
        {
            "id": song_id,
            "index": index,
            "seed": brief.take_seed(index),
            "guidance_scale": brief.take_guidance(index) if uses_guidance else None,
        }
        for index, song_id in enumerate(song_ids)
    ]
    values = {
        "id": job_id,
        "account_id": account_id,
        "kind": brief.kind.value,
        "state": state.value,
        "ended": state.ended,
        "brief": json.dumps(brief_to_json(brief)),
        "price_credits": price_credits,
        "key": key,
        "request_hash": request_hash,
        "trace_id": trace_id,
        "reason": reason,
        "reason_code": reason_code,
        "song_ids": list(song_ids),
        "takes": json.dumps(takes),
        "title": brief.title,
        "prompt": brief.prompt,
        "description": brief.description,
        "lyrics": brief.lyrics,
        "described_lyrics": brief.described_lyrics,
        "instrumental": brief.instrumental,
        "engine": brief.engine,
        "steps": brief.controls.steps,
        "tempo_bpm": brief.controls.tempo_bpm,
        "music_key": brief.controls.key,
    }
    return job_of(session.execute(_INSERT, values).mappings().one())
