"""The environments of the clients: made once, and anew when they are not as they should be."""

import threading
from pathlib import Path

import pytest

from tests.clients import environments
from tests.clients.environments import environment, node_modules_with


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where they lie."""
    monkeypatch.setattr(environments, "FOLDER", tmp_path / "clients")
    return tmp_path / "clients"


class Maker:
    """Makes an environment of one file, and counts how often."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, folder: Path) -> None:
        self.times += 1
        (folder / "made").write_text(str(self.times))


def test_made_once() -> None:
    """
    Whoever asks again finds what the first one had made.
    """
    make = Maker()

    first = environment("a", "a==1", make)
    assert environment("a", "a==1", make) == first
    assert (first / "made").read_text() == "1"


def test_made_anew_when_it_is_to_hold_something_else() -> None:
    """
    Another version is another environment: nothing of the former one is left.
    """
    make = Maker()
    (environment("a", "a==1", make) / "more").touch()

    second = environment("a", "a==2", make)
    assert (second / "made").read_text() == "2"
    assert not (second / "more").exists()


def test_made_anew_when_it_was_not_made_to_its_end() -> None:
    """
    What was cut off is thrown away.
    """

    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise RuntimeError("no network")

    with pytest.raises(RuntimeError, match="no network"):
        environment("a", "a==1", fail)

    again = environment("a", "a==1", Maker())
    assert not (again / "half").exists()


def test_made_by_one() -> None:
    """
    Of several who ask at once one makes it, and the others get it whole.
    """
    make, seen = Maker(), list[str]()

    def ask() -> None:
        seen.append((environment("a", "a==1", make) / "made").read_text())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert seen == ["1"] * 8


def test_a_tool_that_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """
    Without npm the tests of its client fail, and say why.
    """
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(FileNotFoundError, match="npm is missing"):
        node_modules_with("a", "left-pad@1")
