"""What is to be read, in words that a journal can keep, and a resume can open again."""

import glob
import os
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, Self

import msgspec
import xxhash

from bulksubmit.errors import SourceError
from bulksubmit.producer import remote
from bulksubmit.producer.sweepfile import SWEEP_SUFFIX, read_sweep_file

SAMPLE_BYTES = 64 * 1024
SAMPLES = 18  # The two ends and 16 in between: 1 MiB or so, whatever the file's size.
STDIN = "-"
_PATTERN = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """What is to be read: files, rows of files in a template, or a sweep over parameters.

    Attributes:
        files: Paths, patterns (``shards/*.jsonl``), or URLs that fsspec knows, in order. A file
            that ends in ``.toml`` describes a sweep, and stands alone.
        template: A task as JSON text with placeholders, ``{column}`` or ``{parameter}``; for
            CSV and Parquet files, and for sweeps.
        sweeps: Parameters and what they run through: ``i=1..1000``, ``mode=fast,slow``.
        allow_unused: Columns that the template does not use are no error.
        template_name: What to call the template in messages: its file, however it was reached.
        name: What runs of it are found again by, if not by its files: the file that described
            the sweep, or patterns, which may stand for other files later.
    """

    files: tuple[str, ...] = ()
    template: str | None = None
    sweeps: tuple[str, ...] = ()
    allow_unused: bool = False
    template_name: str = field(default="template", compare=False)
    name: str | None = None

    @property
    def label(self) -> str:
        """A name for people, and for finding runs of the same source."""
        if self.name:
            return self.name
        files = self.files[0] if len(self.files) == 1 else ", ".join(self.files)
        return " x ".join([files, *self.sweeps] if files else self.sweeps)

    def to_json(self) -> str:
        """As a journal keeps it."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What to_json() gave."""
        return msgspec.json.decode(text, type=cls)

    def expanded(self) -> "SourceSpec":
        """With each file's absolute path instead of patterns, and what a sweep's file describes.

        Raises:
            SourceError: if a pattern fits no file, a file is named twice, a name holds a secret,
                or a sweep's file describes none.
        """
        if any(name.endswith(SWEEP_SUFFIX) for name in self.files):
            return self._described()
        files = tuple(path for name in self.files for path in _expanded(name))
        for path, times in Counter(files).items():
            if times > 1:
                raise SourceError(path, None, "is named twice; its tasks would be read twice")
        name = self.name
        if any(_is_pattern(each) for each in self.files):
            absolute = (each if is_url(each) else os.path.abspath(each) for each in self.files)  # noqa: PTH100 - a pattern, no path
            name = ", ".join(absolute)
        return replace(self, files=files, name=name)

    def _described(self) -> "SourceSpec":
        """What the sweep's file describes: the journal keeps that, whatever becomes of the file."""
        path = next(name for name in self.files if name.endswith(SWEEP_SUFFIX))
        if len(self.files) > 1 or self.template is not None or self.sweeps:
            reason = "describes a sweep and its task; it stands alone, without others or --template"
            raise SourceError(path, None, reason)
        template, sweeps = read_sweep_file(path)
        named = os.path.realpath(path)
        return replace(
            self, files=(), template=template, sweeps=sweeps, template_name=named, name=named
        )


def is_url(name: str) -> bool:
    """Whether a file's name is a URL, such as ``abfs://container/tasks.jsonl``."""
    scheme, found, _ = name.partition("://")
    return bool(found) and scheme.replace("+", "").isalnum()


def _is_pattern(name: str) -> bool:
    return bool(_PATTERN.intersection(name)) and (is_url(name) or not Path(name).exists())


def _expanded(name: str) -> list[str]:
    remote.refuse_secret(name)
    try:
        name.encode()
    except UnicodeEncodeError:  # Half of a character: neither a journal nor JSON can keep it.
        shown = name.encode(errors="backslashreplace").decode()
        reason = "is not UTF-8; rename it, or read it as standard input"
        raise SourceError(shown, None, f"the name of the file {reason}") from None
    if is_url(name):
        return remote.expanded(name)
    if name == STDIN:
        raise SourceError("-", None, "standard input stands alone")
    if not _is_pattern(name):
        return [os.path.realpath(name)]
    found = sorted(os.path.realpath(path) for path in glob.glob(name, recursive=True))  # noqa: PTH207 - the whole path is the pattern
    if not found:
        raise SourceError(name, None, "no file fits this pattern")
    return found


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a file was when a run was begun.

    Attributes:
        bytes: Its size.
        changed: When it was last changed: nanoseconds, or what a remote file says.
        digest: Of samples of its bytes.
    """

    bytes: int
    changed: str
    digest: str

    def change_to(self, now: "Fingerprint") -> str | None:
        """How the file differs now, or None."""
        if now.bytes != self.bytes:
            return f"had {self.bytes:,} bytes and has {now.bytes:,}"
        if now.changed != self.changed:
            return "was written to since"
        return None if now.digest == self.digest else "has other bytes"


def fingerprints(spec: SourceSpec) -> str:
    """What a source's files are now, as a journal keeps it.

    Raises:
        SourceError: if one cannot be read.
    """
    return msgspec.json.encode([fingerprint(path) for path in spec.files]).decode()


def known_fingerprints(files: str) -> list[Fingerprint]:
    """What fingerprints() gave."""
    return msgspec.json.decode(files, type=list[Fingerprint])


def change_of(spec: SourceSpec, then: str, files_then: str) -> str | None:
    """How a source differs from what it was, or None.

    Args:
        spec: What it is now.
        then: What its to_json() gave.
        files_then: What fingerprints() gave.
    """
    was = SourceSpec.from_json(then)
    if spec != was:
        if spec.files != was.files:
            return f"{spec.label} stands for other files now"
        return "its template, or what it runs through, is not what it was"
    for path, before in zip(spec.files, known_fingerprints(files_then), strict=True):
        try:
            change = before.change_to(fingerprint(path))
        except SourceError as error:
            return str(error)
        if change:
            return f"{path} {change}"
    return None


def fingerprint(path: str) -> Fingerprint:
    """What a file is now.

    Together with the size and the time of the last change, the digest of samples of its bytes
    tells a file that was edited or made anew; it is not meant to resist someone who deceives.

    Args:
        path: Or URL.

    Raises:
        SourceError: if the file cannot be read.
    """
    if is_url(path):
        size, changed, samples = remote.look_at(path, _sample_offsets, SAMPLE_BYTES)
    else:
        try:
            with open(path, "rb") as file:  # noqa: PTH123 - as for the rest of the file's life
                status = os.fstat(file.fileno())
                size, changed = status.st_size, str(status.st_mtime_ns)
                samples = [_sample(file, offset) for offset in _sample_offsets(size)]
        except OSError as error:
            raise SourceError(path, None, f"cannot be read: {error.strerror}") from error
    digest = xxhash.xxh3_128(str(size).encode() + b"".join(samples)).hexdigest()
    return Fingerprint(size, changed, digest)


def _sample_offsets(size: int) -> list[int]:
    last = max(0, size - SAMPLE_BYTES)
    return sorted({last * step // (SAMPLES - 1) for step in range(SAMPLES)})


def _sample(file: BinaryIO, offset: int) -> bytes:
    file.seek(offset)
    return file.read(SAMPLE_BYTES)
