"""The journal's disk: what of it survives a crash.

It watches the journal's connection from below, at SQLite's own level, and knows nothing of what
the journal means to do: how many frames the write-ahead log has and how many of them were moved
into the file is read from SQLite's index of the log, and whether a commit waited for the disk
from the connection's ``synchronous``.
"""

import sqlite3
import struct
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

# SQLite, "WAL-mode File Format": the index's header, and what was moved behind its two copies.
_PAGE_SIZE_AT, _FRAMES_AT, _SALT_AT, _MOVED_AT = 14, 16, 32, 96
_LOG_HEADER_BYTES, _FRAME_HEADER_BYTES = 32, 24
_FULL = 2  # PRAGMA synchronous


@dataclass(frozen=True, slots=True)
class Image:
    """A journal's files as a crash leaves them."""

    file: bytes
    log: bytes


class _Watched(sqlite3.Connection):
    """Tells the disk of each statement."""

    def __init__(self, disk: "Disk", *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._disk = disk

    def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
        self._disk.before(sql)
        cursor = super().execute(sql, parameters)
        if not self.in_transaction and sql.startswith(("UPDATE", "DELETE", "INSERT", "COMMIT")):
            (level,) = super().execute("PRAGMA synchronous").fetchone()
            self._disk.committed(waited=level >= _FULL)
        return cursor


class Disk:
    """Below one run's folder.

    Attributes:
        step: Called before each statement that writes.
        full_for: So many statements will be refused, as the disk is full.
        synced_s: When a commit last waited for the disk.
    """

    def __init__(self, folder: Path, clock: Callable[[], float]) -> None:
        self.step: Callable[[], None] = lambda: None
        self.full_for = 0
        self.synced_s = clock()
        self._clock = clock
        self._file, self._log = folder / "run.db", folder / "run.db-wal"
        self._index = folder / "run.db-shm"
        self._salt: bytes | None = None
        self._synced_frames = 0

    def watching(self) -> AbstractContextManager[object]:
        """While it lasts, connections are watched."""
        factory = partial(_Watched, self)
        return mock.patch("sqlite3.connect", partial(sqlite3.connect, factory=factory))

    def before(self, sql: str) -> None:
        """A statement is about to be executed."""
        if sql.startswith(("PRAGMA", "SELECT")):
            return
        self._look()
        self.step()
        if self.full_for and not sql.startswith("ROLLBACK"):
            self.full_for -= 1
            raise sqlite3.OperationalError("database or disk is full")

    def committed(self, *, waited: bool) -> None:
        """A statement has changed the database."""
        frames, _ = self._look()
        if waited:
            self._synced_frames, self.synced_s = frames, self._clock()

    def opened(self) -> None:
        """A new life begins: what it finds is on the disk."""
        self._salt, self.synced_s, self.full_for = None, self._clock(), 0

    def image(self, random: Random | None) -> Image:
        """The files as a crash now leaves them.

        Args:
            random: Draws where the log ends, not before what was synced, and what of its
                tail is damaged; None if nothing is lost.
        """
        log = self._log.read_bytes() if self._log.exists() else b""
        if random is not None and log:
            frames, frame_bytes = self._look()
            least = _LOG_HEADER_BYTES * bool(self._synced_frames)
            least += self._synced_frames * frame_bytes
            most = _LOG_HEADER_BYTES + frames * frame_bytes
            end = random.choice((least, most, random.randint(least, most)))
            damage = random.choice((b"", bytes(len(log) - end), random.randbytes(len(log) - end)))
            # Sectors reach the disk in any order: some later ones may be there already.
            later = log[end + 512 :] if random.random() < 0.3 else b""
            log = log[:end] + (damage[:512] + later if later and damage else damage)
        return Image(self._file.read_bytes(), log)

    def restore(self, image: Image) -> None:
        """Let the files be as a crash has left them."""
        self._index.unlink(missing_ok=True)
        self._file.write_bytes(image.file)
        self._log.write_bytes(image.log)

    def _look(self) -> tuple[int, int]:
        """How many frames the log has, and how many bytes a frame."""
        if not self._index.exists():  # Not in WAL mode yet.
            return 0, 0
        with self._index.open("rb") as file:
            index = file.read(_MOVED_AT + 4)
        if len(index) < _MOVED_AT + 4:
            return 0, 0
        (page_bytes,) = struct.unpack_from("=H", index, _PAGE_SIZE_AT)
        (frames,) = struct.unpack_from("=I", index, _FRAMES_AT)
        (moved,) = struct.unpack_from("=I", index, _MOVED_AT)
        salt = index[_SALT_AT : _SALT_AT + 8]
        if self._salt is None:  # What a life finds is on the disk.
            self._salt, self._synced_frames = salt, frames
        elif salt != self._salt:  # The log was begun anew, as all of it had been moved.
            self._salt, self._synced_frames = salt, 0
        # What is moved was synced before.
        self._synced_frames = max(self._synced_frames, min(moved, frames))
        return frames, page_bytes + _FRAME_HEADER_BYTES
