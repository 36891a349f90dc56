"""Plans and packs: what an Account can subscribe to and buy, read from ``configs/plans.toml``.

No ids of the payment service are configured: an entry's `lookup_key` is the name of its Price there.
"""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from studio.errors import MelodeonError

FREE: Final = "free"
"""The plan of every new account, and of whoever stops paying."""

SIGNS: Final = {"usd": "$", "eur": "€", "gbp": "£"}
"""Currencies that may be used: all have two decimals, so that 100 minor units are 1."""

SMALLEST_PAYMENT_MINOR: Final = 50
"""Payments below are refused by the payment service (0.50 in the dollar and the euro)."""

Label = Annotated[str, Field(min_length=1, max_length=40)]
_AMOUNT_MAX_MINOR: Final = 99_999_999
_CREDITS_MAX: Final = 1_000_000
Currency = Annotated[str, Field(pattern=f"^({'|'.join(SIGNS)})$")]
Limit = Annotated[int, Field(ge=0)]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Pack(_Entry):
    """Credits to buy once. They never expire.

    Attributes:
        name: key in ``configs/plans.toml``.
        label: shown to people.
        credits: how many it brings, > 0.
        amount_minor: its price in minor units, taxes included.
        currency: three small letters.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")
    label: Label
    credits: int = Field(gt=0, le=_CREDITS_MAX)
    amount_minor: int = Field(ge=SMALLEST_PAYMENT_MINOR, le=_AMOUNT_MAX_MINOR)
    currency: Currency

    @property
    def lookup_key(self) -> str:
        """What the payment service calls its Price."""
        return f"pack_{self.name}"


class Plan(_Entry):
    """One plan. It costs nothing when ``amount_minor`` is 0; else that much a month.

    Attributes:
        name: key in ``configs/plans.toml``.
        label: shown to people.
        start_cost: units of virtual time that one start in the fair queue costs; fewer is served more often.
        monthly_credits: what every paid month brings; they last for that month.
        amount_minor: its price a month in minor units, taxes included.
        currency: three small letters.
        trial_days: days before the first payment; 0: none.
        projects_max: saved projects an Account may have; None: any number.
        releases_per_day: releases within 24 hours; None: any number.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")
    label: Label
    start_cost: int = Field(gt=0)
    monthly_credits: int = Field(default=0, ge=0, le=_CREDITS_MAX)
    amount_minor: int = Field(default=0, ge=0, le=_AMOUNT_MAX_MINOR)
    currency: Currency = "usd"
    trial_days: int = Field(default=0, ge=0, le=730)
    projects_max: Limit | None = None
    releases_per_day: Limit | None = None

    @model_validator(mode="after")
    def _is_paid_for(self) -> Self:
        if not self.is_paid and (self.monthly_credits or self.trial_days):
            raise ValueError("a plan that costs nothing brings neither monthly credits nor a trial")
        if self.is_paid and self.amount_minor < SMALLEST_PAYMENT_MINOR:
            raise ValueError(f"amount_minor is 0 or at least {SMALLEST_PAYMENT_MINOR}")
        return self

    @property
    def is_paid(self) -> bool:
        """Whether it is bought."""
        return self.amount_minor > 0

    @property
    def lookup_key(self) -> str:
        """What the payment service calls its Price; a free plan has none there."""
        return f"plan_{self.name}_monthly"


class Offer(_Entry):
    """All there is: plans and packs by their names, in the order of the file, and the terms.

    Attributes:
        refund_days: within so many days an untouched pack is paid back when its buyer asks; 0: it is not.
    """

    plans: dict[str, Plan]
    packs: dict[str, Pack] = {}
    refund_days: int = Field(default=0, ge=0, le=366)

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if FREE not in self.plans or self.plans[FREE].is_paid:
            raise ValueError(f"there must be a plan “{FREE}” that costs nothing: new accounts have it")
        if twice := sorted(set(self.plans) & set(self.packs)):
            raise ValueError(f"a pack and a plan are both called “{twice[0]}”")
        return self


class BrokenPlans(MelodeonError):
    """The file of plans and packs cannot be used."""

    code = "broken_plans"

    def __init__(self, sentences: list[str]) -> None:
        super().__init__("plans.toml cannot be used. " + " ".join(sentences))


class UnknownPlan(MelodeonError):
    """An account names a plan that the installation does not offer."""

    code = "unknown_plan"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no plan “{name}”; the plans are: {', '.join(plans())}.")
        self.name = name


class UnknownItem(MelodeonError):
    """Somebody wants to buy what is not for sale here."""

    code = "unknown_item"

    def __init__(self, name: str) -> None:
        super().__init__(f"“{name}” is not for sale here. Choose a pack or a plan from the list of prices.")
        self.name = name


def read_offer(text: str) -> Offer:
    """The offer that the TOML ``text`` describes.

    Raises:
        BrokenPlans: with one sentence for each thing that is wrong.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BrokenPlans([f"It is not TOML: {error}."]) from None
    for section in ("plans", "packs"):
        entries = table.get(section)
        if isinstance(entries, dict):
            table[section] = {name: _named(name, entry) for name, entry in entries.items()}
    try:
        return Offer.model_validate(table)
    except ValidationError as error:
        raise BrokenPlans([_sentence(item) for item in error.errors()[:10]]) from None


@cache
def offer() -> Offer:
    """The offer of this installation."""
    return read_offer(resources.files("configs").joinpath("plans.toml").read_text("utf-8"))


def plans() -> Mapping[str, Plan]:
    """Every plan by its name, in the order of the file."""
    return offer().plans


def packs() -> Mapping[str, Pack]:
    """Every pack by its name, in the order of the file."""
    return offer().packs


def plan(name: str) -> Plan:
    """The plan of this name.

    Raises:
        UnknownPlan: there is none.
    """
    try:
        return plans()[name]
    except KeyError:
        raise UnknownPlan(name) from None


def pack(name: str) -> Pack:
    """The pack of this name.

    Raises:
        UnknownItem: there is none.
    """
    try:
        return packs()[name]
    except KeyError:
        raise UnknownItem(name) from None


def item(name: str) -> Pack | Plan:
    """The pack or the paid plan of this name: what can be bought.

    Raises:
        UnknownItem: there is none.
    """
    chosen = plans().get(name)
    return chosen if chosen is not None and chosen.is_paid else pack(name)


def items() -> tuple[Pack | Plan, ...]:
    """Everything that can be bought."""
    return (*packs().values(), *(plan for plan in plans().values() if plan.is_paid))


def by_lookup_key(key: str) -> Pack | Plan | None:
    """The pack or paid plan that the payment service calls so; None: we sell no such thing (an alarm, not zero)."""
    return next((found for found in items() if found.lookup_key == key), None)


def money_text(amount_minor: int, currency: str) -> str:
    """An amount as people write it: "$4.99", "€1,024.00"."""
    return f"{SIGNS[currency]}{amount_minor // 100:,}.{amount_minor % 100:02}"


def _named(name: str, entry: Any) -> Any:
    return {"name": name, **entry} if isinstance(entry, dict) else entry


def _sentence(problem: ErrorDetails) -> str:
    place = ".".join(str(step) for step in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"There is no field “{place}”."
    if problem["type"] == "missing":
        return f"The field “{place}” is missing."
    what = problem["msg"].removeprefix("Value error, ")
    return f"{place}: {what}." if place else f"{what[:1].upper()}{what[1:]}."
