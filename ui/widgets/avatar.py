"""An account's picture in a circle; without one, its first letter on a colour of its own."""

import base64
import hashlib
import html
from typing import Final

import streamlit as st

from serving import avatars
from serving.api.services import Services

_COLOURS: Final = ("#9c3d1f", "#7a4a12", "#4f5d16", "#1f6a4a", "#1c6474", "#2f559c", "#5b479e", "#8a3a74")
"""Dark enough for white letters (contrast ≥ 4.5, WCAG 2.2)."""


def colour_of(name: str) -> str:
    """The colour that whoever is called so has without a picture, as ``#rrggbb``."""
    return _COLOURS[hashlib.sha256(name.casefold().encode()).digest()[0] % len(_COLOURS)]


def avatar_svg(name: str, picture: bytes = b"", *, width_px: int = 64) -> str:
    """A round picture as SVG text.

    Args:
        name: whose; its first letter stands there without a picture.
        picture: a square WebP; empty for none.
    """
    if picture:
        inside = f'<image href="data:image/webp;base64,{base64.b64encode(picture).decode()}" width="64" height="64"/>'
    else:
        inside = (
            f'<rect width="64" height="64" fill="{colour_of(name)}"/><text x="32" y="33" fill="#fff" font-size="30"'
            ' font-family="system-ui, sans-serif" font-weight="600" text-anchor="middle" dominant-baseline="central">'
            f"{html.escape(name[:1].upper())}</text>"
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64" width="{width_px}" height="{width_px}">'
        '<clipPath id="circle"><circle cx="32" cy="32" r="32"/></clipPath>'
        f'<g clip-path="url(#circle)">{inside}</g></svg>'
    )


@st.cache_data(max_entries=500, ttl=3600, show_spinner=False)
def _address(name: str, avatar_key: str, width_px: int, _services: Services) -> str:
    drawn = avatar_svg(name, avatars.picture_of(_services, avatar_key), width_px=width_px)
    return f"data:image/svg+xml;base64,{base64.b64encode(drawn.encode()).decode()}"


def draw_avatar(services: Services, *, name: str, avatar_key: str, width_px: int) -> None:
    """The picture of whoever is called ``name``; decoration beside the name, so it has no text of its own.

    As Markdown: st.image would offer to show it on the whole screen.
    """
    st.markdown(f"![]({_address(name, avatar_key, width_px, services)})", width=width_px)
