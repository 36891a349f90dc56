"""What comes in by HTTP. Unknown fields are refused; the spellings of the systems we learnt from are accepted."""

from typing import Annotated, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from studio.words.brief import Brief, BriefMode, Controls, UnfitBrief


def _also(*names: str) -> AliasChoices:
    """The names under which a field may come, ours first."""
    return AliasChoices(*names)


Integer = Annotated[int, Field(ge=-(2**53), le=2**53)]
"""A whole number that every JSON reader keeps exactly (RFC 8259, 6)."""

Number = Annotated[float, Field(allow_inf_nan=False)]

Description = Annotated[str, Field(validation_alias=_also("description", "full_described_song", "fullDescribedSong"))]
DescribedLyrics = Annotated[str, Field(validation_alias=_also("described_lyrics", "describedLyrics"))]
Duration = Annotated[
    Number | None, Field(validation_alias=_also("duration_s", "audio_duration", "audioDuration", "duration"))
]
Tempo = Annotated[Integer | None, Field(validation_alias=_also("tempo_bpm", "bpm"))]
Steps = Annotated[Integer | None, Field(validation_alias=_also("steps", "infer_step", "inferStep"))]
Guidance = Annotated[Number | None, Field(validation_alias=_also("guidance_scale", "guidanceScale"))]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class SongWish(_Body):
    """What every song request may say. A seed of -1 means: draw one."""

    title: str = ""
    instrumental: bool = False
    engine: str = ""
    duration_s: Duration = None
    tempo_bpm: Tempo = None
    key: str | None = None
    seed: Integer | None = None
    steps: Steps = None
    guidance_scale: Guidance = None

    def _brief(
        self, mode: BriefMode, *, description: str = "", prompt: str = "", lyrics: str = "", described_lyrics: str = ""
    ) -> Brief:
        controls = Controls(
            duration_s=self.duration_s,
            tempo_bpm=self.tempo_bpm,
            key=self.key or None,
            seed=None if self.seed == -1 else self.seed,
            steps=self.steps,
            guidance_scale=self.guidance_scale,
        )
        return Brief(
            mode=mode,
            description=description,
            prompt=prompt,
            lyrics=lyrics,
            described_lyrics=described_lyrics,
            title=self.title,
            instrumental=self.instrumental,
            engine=self.engine,
            controls=controls,
        )


class FromDescription(SongWish):
    """One free description; the product writes the rest."""

    description: Description

    def brief(self) -> Brief:
        """The Brief this asks for."""
        return self._brief(BriefMode.DESCRIPTION, description=self.description)


class WithLyrics(SongWish):
    """A style and the person's own lyrics."""

    prompt: str
    lyrics: str = ""

    def brief(self) -> Brief:
        """The Brief this asks for."""
        return self._brief(BriefMode.LYRICS, prompt=self.prompt, lyrics=self.lyrics)


class FromDescribedLyrics(SongWish):
    """A style and what the lyrics should tell."""

    prompt: str
    described_lyrics: DescribedLyrics = ""

    def brief(self) -> Brief:
        """The Brief this asks for."""
        return self._brief(BriefMode.DESCRIBED_LYRICS, prompt=self.prompt, described_lyrics=self.described_lyrics)


class Generate(SongWish):
    """Any of the three: the fields that are filled decide."""

    prompt: str = ""
    lyrics: str = ""
    description: Description = ""
    described_lyrics: DescribedLyrics = ""

    def brief(self) -> Brief:
        """The Brief this asks for.

        Raises:
            UnfitBrief: the filled fields contradict each other.
        """
        if self.description and (self.prompt or self.lyrics or self.described_lyrics):
            raise UnfitBrief("description", "Send either a description alone, or a prompt with lyrics.")
        if self.lyrics and self.described_lyrics:
            raise UnfitBrief("lyrics", "Send either lyrics or described lyrics, not both.")
        if self.described_lyrics:
            mode = BriefMode.DESCRIBED_LYRICS
        elif self.prompt or self.lyrics:
            mode = BriefMode.LYRICS
        else:
            mode = BriefMode.DESCRIPTION
        return self._brief(
            mode,
            prompt=self.prompt,
            lyrics=self.lyrics,
            description=self.description,
            described_lyrics=self.described_lyrics,
        )


class Rename(_Body):
    """A new title."""

    title: str


class Played(_Body):
    """What the player says of a play: how long it was listened to, in seconds."""

    listened_s: Annotated[Number, Field(ge=0)]


class SignIn(_Body):
    """Either the one-time ticket of a page, or name and password, with a code where the account asks for one."""

    ticket: str = ""
    name: str = ""
    password: str = ""
    code: Annotated[str, Field(max_length=64)] = ""


class SignUp(_Body):
    """A new account."""

    name: str
    email: str = ""
    password: str


class Token(_Body):
    """The token of a link in a letter."""

    token: Annotated[str, Field(max_length=200)]


class EmailAddress(_Body):
    """An address that somebody says is theirs."""

    email: str


class NewPassword(Token):
    """A new password, and the token that allows it."""

    password: str


class Password(_Body):
    """The password once more, before something that cannot be undone."""

    password: str


class Proof(_Body):
    """What proves once more who somebody is, before what cannot be undone or opens another way in."""

    password: Annotated[str, Field(max_length=1024)] = ""
    code: Annotated[str, Field(max_length=64)] = ""


class ChangePassword(_Body):
    """The present password and the new one, and whether API keys end too."""

    old: str
    new: str
    revoke_keys: bool = False


class ChangeEmail(Password):
    """A new address, and the password."""

    email: str


class Code(_Body):
    """What an authenticator app shows."""

    code: Annotated[str, Field(max_length=64)]


class NewKey(Proof):
    """An API key: what to call it, what it may do, and for how many days (for ever, without); and the proof."""

    label: str
    scopes: Annotated[list[Literal["read", "create", "billing"]], Field(min_length=1, max_length=3)]
    days: Annotated[int | None, Field(ge=1, le=3650)] = None


class Purchase(_Body):
    """What somebody wants to buy: the name of a pack or of a plan. Its price is ours to say."""

    item: Annotated[str, Field(min_length=1, max_length=40)]
