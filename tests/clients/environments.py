"""Environments of their own for clients that cannot share ours, made when first asked for.

Each lies in a folder of ``.clients/`` beside the package, which git ignores. A note inside says
what it was made of; it is written last. An environment without its note was not made to its end,
and one with another note is of another version: both are made anew.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

FOLDER = Path(__file__).parent.parent.parent / ".clients"
NOTE = "made-of"


def environment(name: str, made_of: str, make: Callable[[Path], None]) -> Path:
    """The folder of an environment, which is made if it is not there as it should be.

    Several processes may ask at once: one makes it, the others wait.

    Args:
        name: The folder's.
        made_of: What is in it. When that changes, it is made anew.
        make: Fills an empty folder.
    """
    FOLDER.mkdir(exist_ok=True)
    folder = FOLDER / name
    note = folder / NOTE
    with FileLock(FOLDER / f"{name}.lock"):
        if not (note.is_file() and note.read_text() == made_of):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            note.write_text(made_of)
    return folder


def python_with(name: str, *requirements: str) -> Path:
    """A Python of its own, the same version as this one, with some packages.

    Raises:
        RuntimeError: if it cannot be made; its output says why.
    """
    python = Path("Scripts/python.exe") if os.name == "nt" else Path("bin/python")

    def make(folder: Path) -> None:
        # Our own pip serves: to give each environment one takes longer than all the rest.
        _run([sys.executable, "-m", "venv", "--without-pip", str(folder)])
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
        # Not compiled: most modules of an SDK are never imported.
        install = ["--python", str(folder / python), "install", "--no-compile", *requirements]
        _run([*pip, *install])

    # Not by sys.executable: python and python3 are one.
    made_of = "\n".join([sys.base_prefix, sys.version, *requirements])
    return environment(name, made_of, make) / python


def node_modules_with(name: str, *packages: str) -> Path:
    """A folder of node modules.

    Raises:
        FileNotFoundError: if there is no npm.
        RuntimeError: if it cannot be made; its output says why.
    """

    def make(folder: Path) -> None:
        npm = shutil.which("npm")
        if npm is None:
            raise FileNotFoundError("npm is missing: this client needs node and npm on the PATH")
        options = ["--no-audit", "--no-fund", "--no-save", "--ignore-scripts"]
        _run([npm, "install", "--prefix", str(folder), *options, *packages])

    return environment(name, "\n".join(packages), make) / "node_modules"


def _run(command: list[str]) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        output = done.stdout + done.stderr
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{output}")
