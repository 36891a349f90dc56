"""What is special about the folder store: plain files, notes beside them, full disks, and links of its own."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.object_links import LINK_PATH, content_disposition
from data.object_store import BadKey, BadLink, FolderStore, StoreUnavailable

LINK_KEY = "the link key of tests"
TEXT = b"0123456789" * 300
SHARED = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.fixture
def folder(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "objects", LINK_KEY)


def content_of(store: FolderStore, key: str) -> bytes:
    return b"".join(store.get(key))


class TestFolder:
    """Files and notes."""

    def test_the_file_is_the_object_and_a_plain_copy_is_a_backup(self, folder: FolderStore, tmp_path: Path) -> None:
        asset = folder.put("songs/1.wav", TEXT, media_type="audio/x-own")
        assert (tmp_path / "objects/songs/1.wav").read_bytes() == TEXT
        subprocess.run(["cp", "-r", tmp_path / "objects", tmp_path / "copy"], check=True)
        assert FolderStore(tmp_path / "copy", LINK_KEY).head("songs/1.wav") == asset

    def test_a_file_without_its_note_is_examined(self, folder: FolderStore, tmp_path: Path) -> None:
        asset = folder.put("songs/1.wav", TEXT, media_type="audio/x-wav")
        for note in ("", "{}", "[1]", '{"size_bytes": 3000}', "\x00"):
            (tmp_path / "objects/songs/1.wav@about").write_text(note)
            assert folder.head("songs/1.wav") == asset
        (tmp_path / "objects/songs/1.wav@about").unlink()
        assert folder.head("songs/1.wav") == asset

    def test_a_file_changed_by_hand_is_examined(self, folder: FolderStore, tmp_path: Path) -> None:
        folder.put("a.png", TEXT, media_type="image/png")
        (tmp_path / "objects/a.png").write_bytes(b"other")
        asset = folder.head("a.png")
        assert asset is not None
        assert (asset.sha256, asset.size_bytes) == (hashlib.sha256(b"other").hexdigest(), 5)

    def test_a_key_cannot_be_a_folder_of_another(self, folder: FolderStore) -> None:
        folder.put("a/b", b"x", media_type="text/plain")
        for key in ("a", "a/b/c"):
            with pytest.raises(BadKey):
                folder.put(key, b"y", media_type="text/plain")
        assert content_of(folder, "a/b") == b"x"

    def test_nothing_is_left_in_the_folder(self, folder: FolderStore, tmp_path: Path) -> None:
        folder.put("a/b/c", b"x", media_type="text/plain")
        folder.delete("a/b/c")
        left = [path.relative_to(tmp_path / "objects").as_posix() for path in (tmp_path / "objects").rglob("*")]
        assert sorted(left) == [".incoming", ".incoming/lock"]

    def test_what_a_killed_put_left_is_swept_after_a_day(self, folder: FolderStore, tmp_path: Path) -> None:
        left = tmp_path / "objects/.incoming/left"
        left.write_bytes(b"half")
        FolderStore(tmp_path / "objects", LINK_KEY)
        assert left.exists()
        os.utime(left, (0, 0))
        FolderStore(tmp_path / "objects", LINK_KEY)
        assert not left.exists()

    def test_nothing_outside_can_be_reached(self, folder: FolderStore, tmp_path: Path) -> None:
        (tmp_path / "secret").write_bytes(b"secret")

        @SHARED
        @given(st.text(st.sampled_from("a./\\\x00~%2e"), max_size=12) | st.text(max_size=12))
        def hunt(key: str) -> None:
            for guess in (key, f"{key}/secret", f"../{key}", f"a/../../{key}secret"):
                try:
                    found = folder.head(guess)
                except BadKey:
                    continue
                assert found is None

        hunt()

    def test_a_full_disk_is_a_sentence_and_leaves_nothing(self, tmp_path: Path) -> None:
        # A limit on the size of files stops the writes of a process of its own as a full disk would.
        ran = subprocess.run(
            [sys.executable, "-c", FULL_DISK, str(tmp_path / "objects")], capture_output=True, text=True, check=False
        )
        assert "its disk is full" in ran.stdout, ran.stderr
        store = FolderStore(tmp_path / "objects", LINK_KEY)
        assert list(store.list()) == ["a"]
        assert content_of(store, "a") == b"old"
        assert [path.name for path in (tmp_path / "objects/.incoming").iterdir()] == ["lock"]

    def test_a_folder_that_is_none_is_a_sentence(self, tmp_path: Path) -> None:
        (tmp_path / "objects").write_text("not a folder")
        with pytest.raises(StoreUnavailable, match="cannot be used"):
            FolderStore(tmp_path / "objects", LINK_KEY)


FULL_DISK = """
import resource, sys
from pathlib import Path
from data.object_store import FolderStore, StoreUnavailable
store = FolderStore(Path(sys.argv[1]), "k")
store.put("a", b"old", media_type="text/plain")
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
for key in ("a", "b/c"):
    try:
        store.put(key, b"x" * 100_000, media_type="text/plain")
    except StoreUnavailable as error:
        print(error.sentence)
"""


class TestLinks:
    """Links of the folder store: for one object, for a while, and not to be altered."""

    def store_at(self, tmp_path: Path, clock_s: float, link_key: str = LINK_KEY) -> FolderStore:
        return FolderStore(tmp_path / "objects", link_key, clock=lambda: clock_s)

    @SHARED
    @given(name=st.none() | st.text(max_size=40))
    def test_a_link_says_what_was_signed(self, tmp_path: Path, name: str | None) -> None:
        link = self.store_at(tmp_path, 1_000).sign("songs/1.wav", life_s=60, download_name=name)
        assert link.startswith(LINK_PATH)
        token = link.removeprefix(LINK_PATH)
        assert "/" not in token
        signed = self.store_at(tmp_path, 1_059.9).verify_link(token)
        assert (signed.key, signed.download_name) == ("songs/1.wav", name)

    def test_a_link_dies(self, tmp_path: Path) -> None:
        token = self.store_at(tmp_path, 1_000).sign("a", life_s=60).removeprefix(LINK_PATH)
        with pytest.raises(BadLink):
            self.store_at(tmp_path, 1_060).verify_link(token)

    def test_another_installation_does_not_know_the_link(self, tmp_path: Path) -> None:
        token = self.store_at(tmp_path, 1_000).sign("a", life_s=60).removeprefix(LINK_PATH)
        with pytest.raises(BadLink):
            self.store_at(tmp_path, 1_000, "another key").verify_link(token)

    def test_any_altered_character_kills_the_link(self, tmp_path: Path) -> None:
        store = self.store_at(tmp_path, 1_000)
        token = store.sign("songs/1.wav", life_s=60, download_name="Ä").removeprefix(LINK_PATH)
        for place, character in enumerate(token):
            for other in "Ab0.=-_ä":
                if other != character:
                    with pytest.raises(BadLink):
                        store.verify_link(token[:place] + other + token[place + 1 :])

    @given(st.text(max_size=60))
    @SHARED
    def test_made_up_links_are_refused(self, tmp_path: Path, token: str) -> None:
        with pytest.raises(BadLink):
            self.store_at(tmp_path, 1_000).verify_link(token)

    @given(st.text(max_size=300))
    def test_a_download_name_stays_in_its_header(self, name: str) -> None:
        header = content_disposition(name)
        assert header.isascii()
        assert header.isprintable()
        assert header.count('"') == 2
        assert header.startswith('attachment; filename="')
        plain = unquote(header.partition("filename*=UTF-8''")[2])
        assert plain
        assert not set(plain) & set('/\\:"\r\n')

    def test_a_download_name_keeps_its_script(self) -> None:
        header = content_disposition("Größe 🎵.wav")
        assert header == ("attachment; filename=\"Gr__e _.wav\"; filename*=UTF-8''Gr%C3%B6%C3%9Fe%20%F0%9F%8E%B5.wav")
