"""Plans: what an Account subscribes to, read from ``configs/plans.toml``."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from studio.errors import MelodeonError


class Plan(BaseModel):
    """One plan.

    Attributes:
        name: key in ``configs/plans.toml``.
        label: shown to people.
        start_cost: units of virtual time that one start in the fair queue costs; fewer is served more often.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str
    label: str = Field(min_length=1)
    start_cost: int = Field(gt=0)


class UnknownPlan(MelodeonError):
    """An account names a plan that the installation does not offer."""

    code = "unknown_plan"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no plan “{name}”; the plans are: {', '.join(plans())}.")
        self.name = name


@cache
def plans() -> Mapping[str, Plan]:
    """Every plan by its name, in the order of the file."""
    table = tomllib.loads(resources.files("configs").joinpath("plans.toml").read_text("utf-8"))
    return TypeAdapter(dict[str, Plan]).validate_python({name: {"name": name, **rest} for name, rest in table.items()})


def plan(name: str) -> Plan:
    """The plan of this name.

    Raises:
        UnknownPlan: there is none.
    """
    try:
        return plans()[name]
    except KeyError:
        raise UnknownPlan(name) from None
