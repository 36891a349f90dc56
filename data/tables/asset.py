"""Stored objects and what they are to a song."""

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from data.tables.base import Base, Created, Id, Moment, one_of
from studio.words.asset import AssetRole


class AssetRow(Base):
    """One stored object. ``released_at``: nothing needs it any more and the clean-up may delete it."""

    __tablename__ = "asset"
    __table_args__ = (
        CheckConstraint("size_bytes >= 0", name="size"),
        CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name="sha256"),
        Index("ix_asset_released_at", "released_at", postgresql_where=text("released_at IS NOT NULL")),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(unique=True)
    sha256: Mapped[str] = mapped_column(String(64))
    media_type: Mapped[str]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[Created]
    released_at: Mapped[Moment | None]


class SongAssetRow(Base):
    """Which object plays which role for a song."""

    __tablename__ = "song_asset"
    __table_args__ = (one_of("role", AssetRole), Index("ix_song_asset_asset_id", "asset_id"))

    song_id: Mapped[Id] = mapped_column(ForeignKey("song.id", ondelete="CASCADE"), primary_key=True)
    role: Mapped[str] = mapped_column(primary_key=True)
    asset_id: Mapped[Id] = mapped_column(ForeignKey("asset.id"))
