"""Doors for credits: balance and statement."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

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
def statement(account: TheAccount, services: TheServices, limit: Annotated[int, Query(ge=1, le=200)] = 50) -> Any:
    """The last movements of the person's credits, newest first."""
    with services.database.transaction() as session:
        lines = ledger.statement(session, account.id, limit)
    return good(
        {
            "movements": [
                {
                    "id": line.id,
                    "kind": line.kind.value,
                    "amount_credits": line.amount_credits,
                    "note": line.note,
                    "job_id": line.job_id,
                    "at": line.at.isoformat(),
                }
                for line in lines
            ]
        }
    )
