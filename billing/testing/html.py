"""The look of the fake's pages: plain HTML, light and dark, no scripts; everything put in is escaped."""

from html import escape
from typing import Final

_STYLE: Final = """
:root { color-scheme: light dark; --back: #f6f6f8; --card: #fff; --ink: #1c1c22; --soft: #62626e; --line: #dfdfe6;
  --accent: #5a3fd6; --on-accent: #fff; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --back: #131318; --card: #1e1e26; --ink: #ececf2; --soft: #a3a3b2;
  --line: #34343f; --accent: #a594ff; --on-accent: #17122f; --bad: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 2rem 1rem; background: var(--back); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
main { max-width: 34rem; margin: 0 auto; background: var(--card); border: 1px solid var(--line);
  border-radius: 14px; padding: 1.5rem; }
h1 { font-size: 1.25rem; margin: 0 0 .25rem; } h2 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
p { margin: .25rem 0; } .soft { color: var(--soft); font-size: .9rem; } .bad { color: var(--bad); }
.row { display: flex; justify-content: space-between; gap: 0 1rem; padding: .6rem 0;
  border-top: 1px solid var(--line); flex-wrap: wrap; }
.total { font-weight: 600; } form { margin: .5rem 0 0; } .inline { display: inline-block; margin: 0 .25rem .25rem 0; }
button, a.button { display: block; width: 100%; min-height: 2.75rem; padding: .6rem 1rem; font: inherit;
  text-align: center; text-decoration: none; border-radius: 10px; cursor: pointer; border: 1px solid var(--line);
  background: transparent; color: inherit; }
.inline button { width: auto; min-height: 2.25rem; padding: .25rem .75rem; font-size: .9rem; }
button.main { background: var(--accent); color: var(--on-accent); border-color: var(--accent); font-weight: 600; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
"""


def page(title: str, body: str) -> str:
    """A whole page around ``body`` (HTML)."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>{body}"
        '<p class="soft" style="margin-top:1.5rem">A fake of Stripe, for trying things out. No money moves.</p>'
        "</main></body></html>"
    )


def button(label: str, action: str, *, main: bool = False, inline: bool = False) -> str:
    """A button that posts to an address."""
    kind = ' class="main"' if main else ""
    around = ' class="inline"' if inline else ""
    return f'<form method="post" action="{escape(action)}"{around}><button{kind}>{escape(label)}</button></form>'


def link(label: str, address: str) -> str:
    """A link that looks like a button."""
    return f'<a class="button" href="{escape(address)}">{escape(label)}</a>'


def row(left: str, right: str, *, total: bool = False) -> str:
    """A line with something on either side (texts)."""
    return f'<div class="row{" total" if total else ""}"><span>{escape(left)}</span><span>{escape(right)}</span></div>'


def money(amount_minor: int, currency: str) -> str:
    """An amount as people read it."""
    sign = {"usd": "$", "eur": "€", "gbp": "£"}.get(currency, currency.upper() + " ")
    return f"{'−' if amount_minor < 0 else ''}{sign}{abs(amount_minor) / 100:,.2f}"
