"""Who may import whom, and what lies at the top: the rooms stay as the design drew them."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = "bulksubmit"


@dataclass(frozen=True)
class May:
    """What a room may import, beside itself.

    Attributes:
        rooms: Other rooms of the package.
        libraries: Installed packages.
        standard: Of the standard library; None for all of it. A name below a module allows
            only that name.
    """

    rooms: str = ""
    libraries: str = ""
    standard: str | None = None


PURE = (
    "base64 binascii bisect collections dataclasses datetime difflib enum functools hashlib heapq "
    "hmac itertools json math random.Random re typing"
)

# A room is a module or a package directly below bulksubmit/. Each file must be in one of these.
ROOMS = {
    # Decides: no clock, no network, no files, no randomness of its own.
    "core": May(libraries="msgspec orjson xxhash", standard=PURE),
    # The report that NotConverged carries, for its type only.
    "errors": May("observe", standard="enum typing"),
    "settings": May("core errors"),
    "producer": May("core errors", "anyio fsspec isal msgspec orjson pyarrow xxhash zstandard"),
    "pool": May("core errors", "anyio"),
    "service": May("core errors", "aiohttp anyio azure msgspec multidict yarl"),
    # Looks up what exists, by any lister.
    "readback": May("core service", "msgspec"),
    "observe": May("core errors", "msgspec opentelemetry orjson rich structlog"),
    # Remembers, and waits for nothing.
    "database": May("errors", "filelock xxhash"),
    "history": May("core"),
    "ledger": May("core database", "msgspec"),
    "record": May("core database errors history ledger", "msgspec"),
    "journal": May("core database errors history ledger record", "msgspec"),
    "runs": May("core database errors journal ledger producer record", "msgspec platformdirs"),
    # Those that came to nothing.
    "nothing": May("runs"),
    # What is to be said of the input while it is read.
    "intake": May("core errors producer settings"),
    "parts": May("core observe pool settings"),
    # The parts, wired: on any service, any source, any run.
    # From a run to its consumer.
    "delivery": May("core", "anyio"),
    "submission": May(
        "core delivery errors intake journal nothing observe parts pool producer readback runs "
        "service settings",
        "anyio msgspec",
    ),
    # What a job holds beside what a source does; writes nothing but temporary files and a report.
    "verify": May(
        "core errors intake observe producer service settings", "anyio azure msgspec orjson xxhash"
    ),
    # What the consumer of a run holds.
    "consumer": May("core errors observe runs submission", "anyio"),
    # Runs what waits, for whoever has no loop.
    "loop": May("", "anyio uvloop"),
    # Floods a job of its own in steps, to learn how fast the service takes tasks.
    "bench": May(
        "consumer core errors journal observe producer runs service settings submission", "anyio"
    ),
    # The calls: names a source, a service and a run, and leaves the rest to the submission.
    "api": May(
        "consumer core distribute errors journal loop nothing observe producer runs service "
        "settings submission",
        "anyio azure",
    ),
    # Many processes, many machines: ordinary submissions of shards.
    "distribute": May(
        "api consumer core delivery errors intake journal ledger loop nothing observe parts pool "
        "producer record runs service settings submission",
        "anyio cryptography distributed msgspec",
    ),
    # `create_tasks` of azure-batch, for the users of its clients.
    "compat": May("api core errors loop observe producer service settings", "anyio azure"),
    # The public names.
    "__init__": May("api consumer core errors observe producer service settings"),
    # Plays the service: knows the wire, never the engine. Only cli/ (and tests/ and
    # benchmarks/) may import it.
    "emulator": May("core", "aiohttp anyio cryptography jwt msgspec orjson pytest"),
    "cli": May(
        "__init__ api bench consumer core database distribute early emulator errors history "
        "journal loop observe producer record runs service settings submission verify",
        "anyio click orjson platformdirs",
    ),
    # Signals until a command heeds them.
    "early": May("", standard="os re signal sys types"),
    "__main__": May("cli early"),
}

TOP = {"README.md", "benchmarks", "bulksubmit", "configs", "pyproject.toml", "tests"}
LINES_MAX = 500


def imported(source: str, package: str) -> Iterator[str]:
    """The full names of all that a file imports, wherever it does: also late, or for types.

    Args:
        source: The file's text.
        package: The package that it lies in, which relative imports start from.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            start = [*(above if node.level else []), *([node.module] if node.module else [])]
            yield from (".".join([*start, alias.name]) for alias in node.names)


def allowed(room: str, name: str) -> bool:
    """Whether a file of this room may import this name."""
    may, top = ROOMS[room], name.split(".", maxsplit=1)[0]
    if top == PACKAGE:
        below = name.split(".")[1] if "." in name else ""
        return (below if below in ROOMS else "__init__") in {room, *may.rooms.split()}
    if top in sys.stdlib_module_names:
        return may.standard is None or any(
            name == part or name.startswith(f"{part}.") for part in may.standard.split()
        )
    return top in may.libraries.split()


def forbidden(path: str, source: str) -> list[str]:
    """What a file of the package imports though it may not.

    Args:
        path: Its path below the package, such as ``core/wire.py``.
        source: Its text.
    """
    *folders, _ = path.split("/")
    room = path.split("/", maxsplit=1)[0].removesuffix(".py")
    assert room in ROOMS, f"{path} is in no room: give {room} a line in ROOMS, or move it"
    return [
        name for name in imported(source, ".".join([PACKAGE, *folders])) if not allowed(room, name)
    ]


def files_of_the_package() -> list[str]:
    package = ROOT / PACKAGE
    return sorted(path.relative_to(package).as_posix() for path in package.rglob("*.py"))


def files_of_the_repository() -> list[str]:
    """All that is committed or about to be; outside a clone, all that lies there."""
    if (ROOT / ".git").exists():
        # A clone may belong to another user, as in a container.
        command = ["git", "-c", "safe.directory=*", "ls-files"]
        listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        return [name for name in listing.stdout.splitlines() if (ROOT / name).exists()]
    return [path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*") if path.is_file()]


@pytest.mark.parametrize("path", files_of_the_package())
def test_each_file_imports_only_what_its_room_may(path: str) -> None:
    """
    Each import of each file is one that the table above allows its room.
    """
    assert forbidden(path, (ROOT / PACKAGE / path).read_text("utf-8")) == []


def test_the_core_reads_no_clock() -> None:
    """
    datetime is pure but for its constructors that ask the clock; the core calls none of them.
    """
    for path in (ROOT / PACKAGE / "core").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            name = node.attr if isinstance(node, ast.Attribute) else ""
            assert name not in {"now", "today", "utcnow"}, f"{path.name} reads the clock"


def test_the_top_level_is_fixed() -> None:
    """
    At the top lie the permitted names, and dot files; nothing else.
    """
    top = {path.split("/")[0] for path in files_of_the_repository()}

    assert {name for name in top if not name.startswith(".")} <= TOP


def test_no_file_is_too_long() -> None:
    """
    No Python file has more than 500 lines.
    """
    lines = {
        path: len((ROOT / path).read_text("utf-8").splitlines())
        for path in files_of_the_repository()
        if path.endswith(".py")
    }

    assert {path: count for path, count in lines.items() if count > LINES_MAX} == {}


# --- The rules themselves --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "line", "name"),
    [
        ("core/x.py", "import time", "time"),
        ("core/x.py", "import random", "random"),
        ("core/x.py", "from random import random", "random.random"),
        ("core/x.py", "from random import Random, seed", "random.seed"),
        ("core/x.py", "import os.path", "os.path"),
        ("core/x.py", "import anyio.abc", "anyio.abc"),
        ("core/x.py", "def f():\n    import asyncio", "asyncio"),
        ("core/x.py", "if TYPE_CHECKING:\n    import aiohttp", "aiohttp"),
        ("core/x.py", "from bulksubmit.service import auth", "bulksubmit.service.auth"),
        ("core/x.py", "from bulksubmit import errors", "bulksubmit.errors"),
        ("core/x.py", "from ..service import auth", "bulksubmit.service.auth"),
        ("core/x.py", "from .. import submit", "bulksubmit.submit"),
        ("core/deep/x.py", "from ...pool import Pool", "bulksubmit.pool.Pool"),
        ("emulator/x.py", "from bulksubmit.pool import Pool", "bulksubmit.pool.Pool"),
        ("emulator/x.py", "import bulksubmit", "bulksubmit"),
        ("service/x.py", "from bulksubmit.emulator import server", "bulksubmit.emulator.server"),
        ("pool.py", "import bulksubmit.service.transport", "bulksubmit.service.transport"),
        ("pool.py", "import aiohttp", "aiohttp"),
        ("submission.py", "from bulksubmit.cli import main", "bulksubmit.cli.main"),
        ("submission.py", "from .cli import main", "bulksubmit.cli.main"),
        ("__init__.py", "from .emulator import server", "bulksubmit.emulator.server"),
    ],
)
def test_a_forbidden_import_is_caught(path: str, line: str, name: str) -> None:
    """
    Whatever its form and place, an import that breaks a rule is named.
    """
    assert forbidden(path, line) == [name]


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("core/x.py", "from random import Random"),
        ("core/x.py", "from collections.abc import Sequence\nimport msgspec.json"),
        ("core/x.py", "from bulksubmit.core import wire"),
        ("core/x.py", "from . import wire\nfrom .wire import encode_collection"),
        ("service/x.py", "import time\nimport aiohttp\nfrom bulksubmit.errors import SourceError"),
        ("cli/x.py", "from bulksubmit.emulator import server\nfrom bulksubmit import submit"),
        ("__main__.py", "from bulksubmit.cli import main"),
    ],
)
def test_an_allowed_import_is_not(path: str, line: str) -> None:
    """
    What the rules allow passes.
    """
    assert forbidden(path, line) == []


def test_a_file_without_a_room_is_caught() -> None:
    """
    A new room states what it may import before it is used.
    """
    with pytest.raises(AssertionError, match=r"attic\.py is in no room"):
        forbidden("attic.py", "")
