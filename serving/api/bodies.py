"""What comes in by HTTP. Unknown fields are refused; the spellings of the systems we learnt from are accepted."""

from typing import Annotated

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, StrictBool

from studio.words.brief import Brief, BriefMode, Controls, UnfitBrief


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


def _alias(*names: str) -> AliasChoices:
    return AliasChoices(*names)


class SongWish(_Body):
    """What every song request may say."""

    title: str = ""
    instrumental: StrictBool = False
    engine: str = ""
    duration_s: Annotated[
        float | None, Field(validation_alias=_alias("duration_s", "audio_duration", "audioDuration", "duration"))
    ] = None
    tempo_bpm: Annotated[int | None, Field(validation_alias=_alias("tempo_bpm", "bpm"))] = None
    key: str | None = None
    seed: int | None = None
    steps: Annotated[int | None, Field(validation_alias=_alias("steps", "infer_step", "inferStep"))] = None
    guidance_scale: Annotated[float | None, Field(validation_alias=_alias("guidance_scale", "guidanceScale"))] = None

    def _controls(self) -> Controls:
        return Controls(
            duration_s=self.duration_s,
            tempo_bpm=self.tempo_bpm,
            key=self.key or None,
            seed=None if self.seed == -1 else self.seed,
            steps=self.steps,
            guidance_scale=self.guidance_scale,
        )


class FromDescription(SongWish):
    """One free description; the product writes the rest."""

    description: Annotated[
        str, Field(validation_alias=_alias("description", "full_described_song", "fullDescribedSong"))
    ]

    def brief(self) -> Brief:
        """The Brief this asks for."""
        return Brief(
            mode=BriefMode.DESCRIPTION,
            description=self.description,
            title=self.title,
            instrumental=self.instrumental,
            engine=self.engine,
            controls=self._controls(),
        )


class WithLyrics(SongWish):
    """A style and the person's own lyrics."""

    prompt: str
    lyrics: str = ""

    def brief(self) -> Brief:
        """The Brief this asks for."""
        return Brief(
            mode=BriefMode.LYRICS,
            prompt=self.prompt,
            lyrics=self.lyrics,
            title=self.title,
            instrumental=self.instrumental,
            engine=self.engine,
            controls=self._controls(),
        )


class FromDescribedLyrics(SongWish):
    """A style and what the lyrics should tell."""

    prompt: str
    described_lyrics: Annotated[str, Field(validation_alias=_alias("described_lyrics", "describedLyrics"))] = ""

    def brief(self) -> Brief:
        """The Brief this asks for."""
        return Brief(
            mode=BriefMode.DESCRIBED_LYRICS,
            prompt=self.prompt,
            described_lyrics=self.described_lyrics,
            title=self.title,
            instrumental=self.instrumental,
            engine=self.engine,
            controls=self._controls(),
        )


class Generate(SongWish):
    """Any of the three: the fields that are filled decide."""

    prompt: str = ""
    lyrics: str = ""
    description: Annotated[
        str, Field(validation_alias=_alias("description", "full_described_song", "fullDescribedSong"))
    ] = ""
    described_lyrics: Annotated[str, Field(validation_alias=_alias("described_lyrics", "describedLyrics"))] = ""

    def brief(self) -> Brief:
        """The Brief this asks for.

        Raises:
            UnfitBrief: the filled fields contradict each other.
        """
        if self.description and (self.prompt or self.lyrics or self.described_lyrics):
            raise UnfitBrief("description", "Send either a description alone, or a prompt with lyrics.")
        if self.lyrics and self.described_lyrics:
            raise UnfitBrief("lyrics", "Send either lyrics or described lyrics, not both.")
        mode = BriefMode.LYRICS
        if self.described_lyrics:
            mode = BriefMode.DESCRIBED_LYRICS
        elif not self.prompt:
            mode = BriefMode.DESCRIPTION
        return Brief(
            mode=mode,
            prompt=self.prompt,
            lyrics=self.lyrics,
            description=self.description,
            described_lyrics=self.described_lyrics,
            title=self.title,
            instrumental=self.instrumental,
            engine=self.engine,
            controls=self._controls(),
        )


class Rename(_Body):
    """A new title."""

    title: str


class SignIn(_Body):
    """Either the one-time ticket of a page, or name and password."""

    ticket: str = ""
    name: str = ""
    password: str = ""
