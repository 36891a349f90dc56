"""The one policy: who may see, change, hide and download what. Pure functions on words; every door and page asks here.

"Nobody signed in" is ``None``. Deleted songs never come out of the repositories, so they need no rule. Moderators and
admins answer for the house: they see what is private and may hide what is published, and that is all. They never edit,
delete or download in somebody's name, and of a song they see what everybody would see of it, not how it was asked for.
"""

from studio.errors import MelodeonError
from studio.words.account import Account, Role
from studio.words.job import Job, JobState
from studio.words.song import DownloadRule, Song


class NotFound(MelodeonError):
    """The thing does not exist, or is not for this person; one answer for both, so that nothing can be guessed."""

    code = "not_found"

    def __init__(self, noun: str) -> None:
        super().__init__(f"There is no such {noun}, or it is not yours to see.")
        self.noun = noun


def may_see(account: Account | None, song: Song) -> bool:
    """A published song everybody; a private one its owner, and those who answer for the house."""
    return song.published_at is not None or _owns(account, song) or _has(account, Role.MODERATOR, Role.ADMIN)


def may_edit(account: Account | None, song: Song) -> bool:
    """Only the owner renames, publishes and deletes."""
    return _owns(account, song)


def may_hide(account: Account | None, song: Song) -> bool:
    """The owner makes it private again; whoever answers for the house takes it away from everybody else."""
    return _owns(account, song) or _has(account, Role.MODERATOR, Role.ADMIN)


def may_download(account: Account | None, song: Song, *, follows: bool = False) -> bool:
    """The owner any finished song; others a published one, as its rule says.

    Args:
        follows: whether ``account`` follows the song's owner.
    """
    if song.status is not JobState.PROCESSED:
        return False
    if _owns(account, song):
        return True
    if song.published_at is None:
        return False
    return song.download_rule is DownloadRule.EVERYONE or (
        song.download_rule is DownloadRule.FOLLOWERS and account is not None and follows
    )


def may_see_job(account: Account | None, job: Job) -> bool:
    """A Job shows what somebody typed: its owner's, and the admin's who must explain failures."""
    return (account is not None and account.id == job.account_id) or _has(account, Role.ADMIN)


def may_administrate(account: Account | None) -> bool:
    """Only an admin sees other people's accounts, gives roles and reads the audit log."""
    return _has(account, Role.ADMIN)


def _owns(account: Account | None, song: Song) -> bool:
    return account is not None and account.id == song.account_id


def _has(account: Account | None, *roles: Role) -> bool:
    return account is not None and account.role in roles
