"""A yardstick for the ledger: plain double entry in Postgres, measured beside ours by the same clients.

Two forms with the same two calls. `OURS_TO_COMPARE` is a stand-in, written here in the manner of pgledger (pgr0ss,
MIT): every account has one row with a balance, a transfer locks both rows in the order of their ids, and each entry
keeps the balance before and after. No idempotency key, no hold, no expiry, no hash chain, no refusal to change. With
``--pgledger FILE …`` the SQL files of the original are measured as well; they are not part of this repository.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg

_STAND_IN: Final = """
CREATE TABLE yard_account (
    id text PRIMARY KEY,
    balance bigint DEFAULT 0 NOT NULL,
    version bigint DEFAULT 0 NOT NULL,
    may_be_negative boolean NOT NULL
);
CREATE TABLE yard_transfer (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    debit text NOT NULL REFERENCES yard_account,
    credit text NOT NULL REFERENCES yard_account,
    amount bigint NOT NULL CHECK (amount > 0 AND debit <> credit),
    created_at timestamptz DEFAULT now() NOT NULL
);
CREATE INDEX ON yard_transfer (debit);
CREATE INDEX ON yard_transfer (credit);
CREATE TABLE yard_entry (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    account_id text NOT NULL REFERENCES yard_account,
    transfer_id uuid NOT NULL REFERENCES yard_transfer,
    amount bigint NOT NULL,
    balance_before bigint NOT NULL,
    balance_after bigint NOT NULL,
    version bigint NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL
);
CREATE INDEX ON yard_entry (account_id);
CREATE INDEX ON yard_entry (transfer_id);

CREATE FUNCTION yard_open(a_name text, negative boolean) RETURNS TABLE (id text)
LANGUAGE sql
BEGIN ATOMIC
    INSERT INTO yard_account (id, may_be_negative) VALUES (a_name, negative) RETURNING yard_account.id;
END;

CREATE FUNCTION yard_move(debits text[], credits text[], amounts bigint[]) RETURNS SETOF uuid
LANGUAGE plpgsql
AS $$
DECLARE
    the_transfer uuid;
    payer yard_account;
    payee yard_account;
BEGIN
    PERFORM FROM yard_account WHERE id = ANY (debits || credits) ORDER BY id FOR UPDATE;
    FOR number IN 1 .. cardinality(amounts) LOOP
        UPDATE yard_account SET balance = balance - amounts[number], version = version + 1
        WHERE id = debits[number] RETURNING * INTO payer;
        IF payer.balance < 0 AND NOT payer.may_be_negative THEN
            RAISE EXCEPTION 'account % would go below nought', payer.id;
        END IF;
        UPDATE yard_account SET balance = balance + amounts[number], version = version + 1
        WHERE id = credits[number] RETURNING * INTO payee;
        INSERT INTO yard_transfer (debit, credit, amount) VALUES (payer.id, payee.id, amounts[number])
        RETURNING id INTO the_transfer;
        INSERT INTO yard_entry (account_id, transfer_id, amount, balance_before, balance_after, version)
        VALUES
            (payer.id, the_transfer, -amounts[number], payer.balance + amounts[number], payer.balance, payer.version),
            (payee.id, the_transfer, amounts[number], payee.balance - amounts[number], payee.balance, payee.version);
        RETURN NEXT the_transfer;
    END LOOP;
END $$;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Yardstick:
    """Another ledger: its SQL and its calls.

    Attributes:
        name: in the table of figures.
        schema: what is installed.
        open: the call that makes an account and answers its id first; parameters: name, may it go below nought.
        move: the call for one transfer; parameters: from ``a``, to ``b``, amount ``c`` (as text: whatever type the
            schema keeps it in).
        move_two: the call for two transfers in one transaction; the second one's parameters are ``d``, ``e``, ``f``.
    """

    name: str
    schema: str
    open: str
    move: str
    move_two: str


OURS_TO_COMPARE: Final = Yardstick(
    name="stand-in for pgledger",
    schema=_STAND_IN,
    open="SELECT id FROM yard_open(%s, %s)",
    move="SELECT yard_move(ARRAY[%(a)s], ARRAY[%(b)s], ARRAY[%(c)s]::bigint[])",
    move_two=("SELECT yard_move(ARRAY[%(a)s, %(d)s], ARRAY[%(b)s, %(e)s], ARRAY[%(c)s, %(f)s]::bigint[])"),
)


def the_original(files: Sequence[Path]) -> Yardstick:
    """pgledger itself, from files that its user has: what it needs first, then ``pgledger.sql``."""
    return Yardstick(
        name="pgledger",
        schema="\n".join(file.read_text("utf-8") for file in files),
        open="SELECT id FROM pgledger_create_account(%s, 'CREDIT', %s, true)",
        move="SELECT id FROM pgledger_create_transfer(%(a)s, %(b)s, %(c)s)",
        move_two=(
            "SELECT id FROM pgledger_create_transfers(ARRAY["
            "(%(a)s, %(b)s, %(c)s)::transfer_request, (%(d)s, %(e)s, %(f)s)::transfer_request])"
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class YardWork:
    """The purses of one song: a person's two, and the house's."""

    available: str
    held: str
    revenue: str


def fill(conninfo: str, yardstick: Yardstick, accounts: int, songs: int) -> list[YardWork]:
    """Install it, make so many people with plenty of credits, and songs spread evenly over them."""
    with psycopg.connect(conninfo) as connection:
        connection.execute(yardstick.schema.encode())

        def opened(name: str, *, negative: bool) -> str:
            row = connection.execute(yardstick.open.encode(), (name, negative)).fetchone()
            if row is None:
                raise RuntimeError(f"{yardstick.name} opened no account")
            return str(row[0])

        promotion, revenue = opened("promotion", negative=True), opened("revenue", negative=False)
        people = []
        for number in range(accounts):
            available = opened(f"available {number}", negative=False)
            held = opened(f"held {number}", negative=False)
            connection.execute(yardstick.move.encode(), {"a": promotion, "b": available, "c": str(2 * songs)})
            people.append(YardWork(available=available, held=held, revenue=revenue))
    return [people[number % accounts] for number in range(songs)]


def pay(connection: psycopg.Connection, calls: Yardstick, song: YardWork) -> None:
    """The three postings of a song in two transactions: two credits set aside; one spent and one given back.

    Args:
        connection: commits each statement by itself.
        calls: whose calls.
        song: whose purses.
    """
    connection.execute(calls.move.encode(), {"a": song.available, "b": song.held, "c": "2"}, prepare=True)
    spent, given_back = {"a": song.held, "b": song.revenue, "c": "1"}, {"d": song.held, "e": song.available, "f": "1"}
    connection.execute(calls.move_two.encode(), spent | given_back, prepare=True)
