"""The built-in words engine: prompts, titles, lyrics and tags from rules and word lists."""



from serving.catalogue import spec_of
from studio.words.engine_spec import EngineSpec


class BuiltinWords:
    """Texts from rules and word lists: no language model."""

    @property
    def spec(self) -> EngineSpec:
        """The catalogue's entry."""
        return spec_of("builtin-words")
