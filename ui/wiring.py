"""The services of this web process, made once and shared by all pages and doors."""

from functools import cache

import streamlit as st

from configs.secrets import load_or_create
from configs.settings import settings
from serving.api.services import Services, open_services
from serving.client import Unavailable
from serving.contract import ApplicationHealth


@cache
def services() -> Services:
    """The services. Every session of the process uses the same ones; none of them holds a person's data."""
    return open_services(settings(), load_or_create(settings().var))


@st.cache_data(ttl=3, show_spinner=False)
def engine_health() -> dict[str, ApplicationHealth] | None:
    """How each engine application stands, not older than three seconds; None when the gateway does not answer."""
    try:
        return services().gateway.health().applications
    except Unavailable:
        return None
