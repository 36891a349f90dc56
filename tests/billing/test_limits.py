"""What a plan allows: projects and releases."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.limits import Feature, UpgradeRequired, check_projects, check_releases
from billing.plans import Plan, plan

CHECKS = {Feature.MULTI_PROJECT: check_projects, Feature.DAILY_RELEASE_LIMIT: check_releases}
FIELDS = {Feature.MULTI_PROJECT: "projects_max", Feature.DAILY_RELEASE_LIMIT: "releases_per_day"}


def test_free_has_one_project_and_one_release_a_day() -> None:
    for feature, check in CHECKS.items():
        check(plan("free"), 0)
        for number in (1, 2, 100):
            with pytest.raises(UpgradeRequired, match="Upgrade") as caught:
                check(plan("free"), number)
            assert (caught.value.code, caught.value.feature) == ("upgrade_required", feature)


def test_pro_has_as_many_as_it_likes() -> None:
    for check in CHECKS.values():
        check(plan("pro"), 1_000_000)


@pytest.mark.parametrize("feature", list(Feature))
@given(most=st.integers(0, 50), already=st.integers(0, 60))
def test_exactly_as_many_as_the_plan_says(feature: Feature, most: int, already: int) -> None:
    limited = Plan(name="some", label="Some", start_cost=1, **{FIELDS[feature]: most})
    if already < most:
        CHECKS[feature](limited, already)
        return
    with pytest.raises(UpgradeRequired, match=f" {most} "):
        CHECKS[feature](limited, already)


def test_one_limit_is_not_the_other() -> None:
    check_releases(Plan(name="some", label="Some", start_cost=1, projects_max=0), 5)
    check_projects(Plan(name="some", label="Some", start_cost=1, releases_per_day=0), 5)
