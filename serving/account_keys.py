"""Making API keys: a way in beside password and second factor, so it takes both."""

from collections.abc import Collection
from datetime import datetime

from data.repositories import accounts, api_keys
from serving.account_confirm import NotConfirmed, Shown, confirm
from serving.api.services import Services
from studio.words.account import Account
from studio.words.api_key import ApiKey, Scope


def make_key(
    services: Services,
    account: Account,
    shown: Shown,
    *,
    label: str,
    scopes: Collection[Scope],
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """Make a key for somebody who proves once more who they are; its secret is known only now.

    Raises:
        UnfitKey, UnkeepableText: the wish cannot be met; no proof is used up then.
        WrongPassword, CodeNeeded, WrongCode, SignInLocked, NotConfirmed: as `confirm`; also when the account was signed
            out everywhere in the same moment.
        TooManyKeys: the account has enough of them.
    """
    api_keys.check_wish(label, scopes)
    proved = confirm(services, account, shown)
    with services.database.transaction() as session:
        made = api_keys.make(session, account.id, label, scopes, expires_at)
        # The account's row is locked now: a new password that revokes every key comes before this one, or finds it.
        present = accounts.by_id(session, account.id)
        if present is None or present.token_version != proved.token_version:
            raise NotConfirmed("You were signed out everywhere in this moment.")
        return made
