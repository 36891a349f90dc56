"""What the operator's commands share: the services of the running installation."""

from collections.abc import Iterator
from contextlib import contextmanager

from configs.addresses import attach
from configs.logs import configure
from configs.secrets import load_or_create
from configs.settings import settings
from serving.api.services import Services, open_services


@contextmanager
def operator_services() -> Iterator[Services]:
    """The services, for one command. The product (or at least its database) must run."""
    chosen = attach(settings())
    configure(chosen.logs.model_copy(update={"level": "WARNING"}), part="cli")
    services = open_services(chosen, load_or_create(chosen.var), role="owner")
    try:
        yield services
    finally:
        services.database.dispose()
