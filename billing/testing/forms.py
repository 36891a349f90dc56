"""Stripe's way of writing nested parameters as a form: ``line_items[0][price]=…&metadata[a]=b&expand[0]=…``."""

import re
from typing import Any
from urllib.parse import parse_qsl

from billing.testing.refusal import Refusal

_NAME = re.compile(r"^([a-z_0-9]+)((?:\[[^\[\]]*\])*)$")
_BOOLEANS = {"true": True, "false": False}
_TEXTS = {"name", "email", "description", "id", "lookup_key", "client_reference_id", "nickname", "label"}


def decode(text: str) -> dict[str, Any]:
    """The parameters in a query or a body: texts, whole numbers, booleans, nested dicts and lists.

    Raises:
        Refusal: a name has another form.
    """
    tree: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        shape = _NAME.match(name)
        if shape is None:
            raise Refusal(f"Received unknown parameter: {name}", reason="parameter_unknown", param=name)
        steps = [shape[1], *re.findall(r"\[([^\[\]]*)\]", shape[2])]
        _plant(tree, steps, value)
    return {name: _lists(value) for name, value in tree.items()}


def _plant(tree: dict[str, Any], steps: list[str], value: str) -> None:
    *path, last = steps
    for step in path:
        tree = tree.setdefault(step or str(len(tree)), {})
        if not isinstance(tree, dict):
            raise Refusal(f"Invalid object at {path[0]}", param=path[0])
    is_text = last in _TEXTS or "metadata" in path
    tree[last or str(len(tree))] = value if is_text else _typed(value)


def _typed(value: str) -> str | int | bool:
    if value in _BOOLEANS:
        return _BOOLEANS[value]
    return int(value) if re.fullmatch(r"-?[0-9]{1,15}", value) else value


def _lists(value: Any) -> Any:
    """Dicts whose names are 0, 1, 2 … are lists."""
    if not isinstance(value, dict):
        return value
    inner = {name: _lists(each) for name, each in value.items()}
    if inner and list(inner) == [str(number) for number in range(len(inner))]:
        return list(inner.values())
    return inner
