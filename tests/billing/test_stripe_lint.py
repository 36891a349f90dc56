"""Stripe's objects are no dicts: in the door's package nothing may be asked in a dict's way, or it fails only live."""

import ast
from pathlib import Path

import pytest

DOOR = Path(__file__).parents[2] / "billing" / "stripe_door"
DICT_WAYS = {"get", "keys", "values", "items", "setdefault", "pop"}
"""Methods that a Stripe object had until version 15 and has no more."""


def dict_ways(source: str) -> list[str]:
    """Calls of a dict's methods, and mappings spread from something that may be one of Stripe's objects."""
    return [
        f"line {node.lineno}: .{node.func.attr}("
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in DICT_WAYS
    ]


@pytest.mark.parametrize("path", sorted(DOOR.glob("*.py")), ids=lambda path: path.name)
def test_no_object_of_stripes_is_asked_like_a_dict(path: Path) -> None:
    assert dict_ways(path.read_text()) == []


@pytest.mark.parametrize("planted", ["event.get('type')", "for k, v in price.metadata.items(): pass", "x.pop('a', 1)"])
def test_the_lint_sees_it(planted: str) -> None:
    assert dict_ways(planted)


def test_the_lint_lets_attributes_pass() -> None:
    assert dict_ways("subscription.items.data[0].price") == []
