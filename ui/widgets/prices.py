"""The price list: packs and plans as cards, what a credit buys, and the terms."""

from collections.abc import Sequence
from typing import Final

import streamlit as st

from billing.plans import SIGNS, Pack, Plan, money_text, offer, packs, plans
from billing.pricing import CREDITS_PER_SERVICE
from studio.words.account import Account
from studio.words.credit import Balance
from studio.words.subscription import Subscription
from ui.widgets.heading import draw_heading
from ui.widgets.plain import counted, credits_text, escape

CURRENCY_NAMES: Final = {"usd": "US dollar", "eur": "Euro", "gbp": "Pound"}
_CARD_WIDTH_PX: Final = 210


def best_value(offered: Sequence[Pack]) -> Pack | None:
    """The pack whose credits cost least; None when there is nothing to compare."""
    return min(offered, key=lambda pack: pack.amount_minor / pack.credits) if len(offered) > 1 else None


def each_text(pack: Pack) -> str:
    """What one credit of a pack costs."""
    return f"{money_text(round(pack.amount_minor / pack.credits), pack.currency)} a credit"


def gains(plan: Plan) -> list[str]:
    """What a plan brings, a line each."""
    free, lines = plans()["free"], []
    if plan.monthly_credits:
        lines.append(f"{credits_text(plan.monthly_credits)} every month")
    lines.append("Credits from packs work as well" if plan.is_paid else "Credits from packs whenever you like")
    if plan.start_cost < free.start_cost:
        lines.append(f"{free.start_cost / plan.start_cost:g} times as many turns in a full queue")
    projects, releases = _limit_text(plan.projects_max, "project"), _limit_text(plan.releases_per_day, "release")
    lines.append(f"To come: {projects}, {releases} a day")
    return lines


def _limit_text(limit: int | None, noun: str) -> str:
    return f"any number of {noun}s" if limit is None else counted(limit, noun)


def terms() -> str:
    """The terms of sale."""
    days = offer().refund_days
    refund = f" A pack of which nothing was spent is paid back within {days} days: ask whoever runs this place."
    return (
        f"Credits from packs never expire.{refund if days else ''} The credits of a plan last for the month they were "
        "paid for and are spent first. A plan can be ended at any time; it then runs until the end of the month. "
        "Prices are in full, taxes included."
    )


def draw_worth(balance: Balance | None) -> None:
    """What a credit buys, beside what the person has."""
    text = worth_text()
    if balance is None:
        st.markdown(text)
        return
    have, worth = st.columns([1, 3], gap="medium", vertical_alignment="center")
    have.metric("You have", credits_text(balance.available_credits))
    worth.markdown(text)


def worth_text() -> str:
    """What a credit buys."""
    song = CREDITS_PER_SERVICE["song"]
    later = {name: price for name, price in CREDITS_PER_SERVICE.items() if name != "song"}
    prices = ", ".join(f"{name} {price}" for name, price in later.items())
    return (
        f"**{credits_text(song)} makes one take of a song**, so a request with its two takes costs "
        f"{credits_text(2 * song)}. Help with lyrics and style, covers and tags are free. What fails or is "
        "cancelled costs nothing. Services that are still to come have their price already, in credits a use: "
        f"{prices}."
    )


def draw_packs(*, open_for_sale: bool) -> str | None:
    """The packs of one currency as cards; the name of the one that was chosen in this run."""
    currencies = [currency for currency in SIGNS if any(pack.currency == currency for pack in packs().values())]
    if not currencies:
        return None
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        draw_heading("Packs of credits")
        currency = st.segmented_control(
            "Currency", currencies, default=currencies[0], required=True, key="currency",
            format_func=lambda code: f"{CURRENCY_NAMES[code]} {escape(SIGNS[code])}", label_visibility="collapsed",
        )  # fmt: skip
    offered = [pack for pack in packs().values() if pack.currency == currency]
    best, chosen = best_value(offered), None
    with st.grid(max(len(offered), 2), min_column_width=_CARD_WIDTH_PX, gap="medium", key="packs"):
        for pack in offered:
            if _draw_pack(pack, is_best=pack is best, open_for_sale=open_for_sale):
                chosen = pack.name
    return chosen


def _draw_pack(pack: Pack, *, is_best: bool, open_for_sale: bool) -> bool:
    with st.container(border=True, height="stretch", key=f"pack_{pack.name}"):
        st.subheader(escape(pack.label), anchor=False)
        st.metric("Price", money_text(pack.amount_minor, pack.currency), label_visibility="collapsed")
        st.markdown(f":small[{escape(each_text(pack))}]" + (" :green-badge[Best value]" if is_best else ""))
        return st.button(
            "Buy", key=f"buy_{pack.name}", type="primary" if is_best else "secondary", width="stretch",
            disabled=not open_for_sale, icon=":material/shopping_cart:",
        )  # fmt: skip


def draw_plans(account: Account | None, subscription: Subscription | None, *, open_for_sale: bool) -> str | None:
    """The plans as cards; the name of the one that was chosen in this run."""
    draw_heading("Plans")
    chosen, current = None, "" if account is None else account.plan
    with st.grid(max(len(plans()), 2), min_column_width=_CARD_WIDTH_PX, gap="medium", key="plans"):
        for plan in plans().values():
            with st.container(border=True, height="stretch", key=f"plan_{plan.name}"):
                _draw_plan(plan, is_current=plan.name == current)
                if subscription is not None and subscription.plan == plan.name:
                    st.caption(standing_text(subscription))
                st.space("stretch")
                if plan.is_paid and subscription is None and st.button(
                    f"Upgrade to {escape(plan.label)}", key=f"buy_{plan.name}", type="primary", width="stretch",
                    disabled=not open_for_sale or plan.name == current, icon=":material/rocket_launch:",
                ):  # fmt: skip
                    chosen = plan.name
    return chosen


def standing_text(subscription: Subscription) -> str:
    """How a subscription goes on."""
    end = subscription.current_period_end
    until = f" {end:%d %B %Y}" if end else " the end of the month"
    if subscription.cancel_at_period_end:
        return f":material/event_busy: Ends on{until}. Until then everything stays as it is."
    if subscription.status == "past_due":
        return ":material/credit_card_off: The last payment failed. Give another card under Manage subscription."
    if subscription.status == "trialing":
        return f":material/event: Free until{until}, then paid each month."
    return f":material/autorenew: Renews on{until}."


def _draw_plan(plan: Plan, *, is_current: bool) -> None:
    badge = " :green-badge[Your plan]" if is_current else ""
    st.subheader(escape(plan.label) + badge, anchor=False)
    price = money_text(plan.amount_minor, plan.currency)
    st.metric("Price", f"{price} a month" if plan.is_paid else "Free of charge", label_visibility="collapsed")
    if plan.trial_days and not is_current:
        st.caption(f"The first {plan.trial_days} days are free.")
    st.markdown("\n".join(f"- {line}" for line in gains(plan)))


def draw_terms() -> None:
    """The terms of sale in small print."""
    st.caption(terms())
