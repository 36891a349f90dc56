"""What a plan allows besides credits. Pure: the caller counts, in the transaction that would add one more."""

from enum import StrEnum

from billing.plans import Plan
from studio.errors import MelodeonError


class Feature(StrEnum):
    """What more of a plan's limits would need."""

    MULTI_PROJECT = "multi_project"
    DAILY_RELEASE_LIMIT = "daily_release_limit"


class UpgradeRequired(MelodeonError):
    """The account's plan does not allow this; a larger one does.

    Attributes:
        feature: which limit was met; programs find it in the answer, the upgrade dialog has a text for each.
    """

    code = "upgrade_required"

    def __init__(self, feature: Feature, most: int) -> None:
        super().__init__(_SENTENCES[feature](most))
        self.feature = feature


def check_projects(plan: Plan, saved: int) -> None:
    """Whether an account on ``plan`` with ``saved`` projects may save one more.

    Raises:
        UpgradeRequired: it has as many as its plan allows.
    """
    if plan.projects_max is not None and saved >= plan.projects_max:
        raise UpgradeRequired(Feature.MULTI_PROJECT, plan.projects_max)


def check_releases(plan: Plan, released_last_24h: int) -> None:
    """Whether an account on ``plan`` that made so many releases within the last 24 hours may make one more.

    Raises:
        UpgradeRequired: it made as many as its plan allows.
    """
    if plan.releases_per_day is not None and released_last_24h >= plan.releases_per_day:
        raise UpgradeRequired(Feature.DAILY_RELEASE_LIMIT, plan.releases_per_day)


_SENTENCES = {
    Feature.MULTI_PROJECT: lambda most: (
        f"Your plan keeps {most} saved project{'' if most == 1 else 's'}. "
        "Upgrade to keep more, or delete one to make room."
    ),
    Feature.DAILY_RELEASE_LIMIT: lambda most: (
        f"Your plan allows {most} release{'' if most == 1 else 's'} within 24 hours. "
        "Upgrade to release as often as you like, or wait until tomorrow."
    ),
}
