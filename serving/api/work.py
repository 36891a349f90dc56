"""Doors for jobs: read, cancel, run again."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from data import access
from serving import jobs
from serving.api.answers import bad, good
from serving.api.identity import TheAccount, TheServices
from serving.api.views import job_json
from studio.words.ids import JobId, is_id
from studio.words.job import Job, JobState

router = APIRouter(prefix="/jobs", tags=["jobs"])


def _job_id(text: str) -> JobId:
    if not is_id(text, noun="job"):
        raise access.NotFound("job")
    return JobId(text)


def answer_job(job: Job) -> JSONResponse:
    """The answer to what set a job to work: 202, or 402 with the job when there are too few credits for it."""
    if job.state is JobState.NO_CREDITS:
        sentence = f"{job.reason} What you asked for is kept; run it again then."
        return bad(402, job.reason_code, sentence, details={"job": job_json(job)})
    return JSONResponse(good({"job": job_json(job)}), status_code=202)


@router.get("")
def recent_jobs(account: TheAccount, services: TheServices, limit: Annotated[int, Query(ge=1, le=100)] = 20) -> Any:
    """The person's jobs, newest first."""
    with services.database.transaction() as session:
        return good({"jobs": [job_json(job) for job in jobs.recent(session, account.id, limit)]})


@router.get("/{job_id}")
def read_job(job_id: str, account: TheAccount, services: TheServices) -> Any:
    """One job with its place in the queue and the seconds it probably still takes."""
    with services.database.transaction() as session:
        job = jobs.get(session, account, _job_id(job_id))
        return good(job_json(job, jobs.position_and_eta(session, job)))


@router.post("/{job_id}/cancel")
def cancel_job(job_id: str, account: TheAccount, services: TheServices) -> Any:
    """Stop a job; credits set aside for it come back."""
    with services.database.transaction() as session:
        return good(job_json(jobs.cancel(session, account, _job_id(job_id), now=services.now())))


@router.post("/{job_id}/run", status_code=202)
def run_job_again(job_id: str, account: TheAccount, services: TheServices) -> Any:
    """Run a failed or cancelled job again, or one that waited for credits."""
    return answer_job(services.ask_again(account, _job_id(job_id)))
