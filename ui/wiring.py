"""The services of this web process, made once and shared by all pages and doors."""

from functools import cache

from configs.secrets import load_or_create
from configs.settings import settings
from serving.api.services import Services, open_services


@cache
def services() -> Services:
    """The services. Every session of the process uses the same ones; none of them holds a person's data."""
    return open_services(settings(), load_or_create(settings().var))
