"""Doors for credits: balance and statement."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from billing import ledger
from serving.api.answers import good
from serving.api.identity import TheAccount, TheServices
from serving.api.views import balance_json

router = APIRouter(prefix="/credits", tags=["credits"])


@router.get("")
def balance(account: TheAccount, services: TheServices) -> Any:
    """What the person has and what is held for jobs under way."""
    with services.database.transaction() as session:
        return good(balance_json(ledger.balance(session, account.id)))


@router.get("/statement")
def statement(
    account: TheAccount,
    services: TheServices,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: Annotated[int | None, Query(ge=1, le=2**53)] = None,
) -> Any:
    """The last movements of the person's credits, newest first; with ``before``, those older than that number."""
    with services.database.transaction() as session:
        lines = ledger.statement(session, account.id, limit, before)
    movements = [
        {
            "number": line.number,
            "id": line.id,
            "kind": line.kind.value,
            "amount_credits": line.amount_credits,
            "change_credits": line.change_credits,
            "note": line.note,
            "job_id": line.job_id,
            "at": line.at.isoformat(),
        }
        for line in lines
    ]
    return good({"movements": movements, "next": lines[-1].number if len(lines) == limit else None})


@router.get("/statement.csv", response_class=Response, responses={200: {"content": {"text/csv": {}}}})
def statement_csv(account: TheAccount, services: TheServices) -> Response:
    """The whole statement as a file, oldest first."""
    with services.database.transaction() as session:
        text = "".join(ledger.statement_csv(session, account.id))
    headers = {"Content-Disposition": 'attachment; filename="credits.csv"', "Cache-Control": "no-store"}
    return Response(text, media_type="text/csv; charset=utf-8", headers=headers)
