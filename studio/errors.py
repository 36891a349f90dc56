"""The one base error. Each subclass stands beside the function that raises it."""


class MelodeonError(Exception):
    """Something a person can be told in one sentence they can act on.

    Subclasses set ``code`` (a stable, lower-case word for programs) and build their sentence in ``__init__``
    from the objects they are about.
    """

    code: str = "error"

    @property
    def sentence(self) -> str:
        """The text shown to the person concerned."""
        return str(self)
