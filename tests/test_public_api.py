"""The public names: few, there, and cheap to import."""

import importlib
import inspect
import subprocess
import sys

import pytest

import bulksubmit


def test_there_are_few() -> None:
    """At most 25, in order, each once."""
    assert len(bulksubmit.__all__) <= 25
    assert bulksubmit.__all__ == sorted(set(bulksubmit.__all__))


@pytest.mark.parametrize("name", bulksubmit.__all__)
def test_each_is_there_and_explained(name: str) -> None:
    """Every name can be imported, also those that are imported when used, and says what it is."""
    value = getattr(bulksubmit, name)

    assert value is not None
    if inspect.isclass(value) or inspect.isfunction(value):
        assert inspect.getdoc(value)
        assert value.__name__ == name


def test_no_other_name_is_public() -> None:
    """What is not in __all__ is a submodule or private."""
    own = {name for name, value in vars(bulksubmit).items() if not inspect.ismodule(value)}
    public = {name for name in own if not name.startswith("_")}

    assert public - {"TYPE_CHECKING", "import_module"} <= set(bulksubmit.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = bulksubmit.nonsense


def test_every_error_is_public() -> None:
    """Whatever is raised on purpose can be caught by a public name."""
    errors = importlib.import_module("bulksubmit.errors")
    raised = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, bulksubmit.BulkSubmitError)
    }

    assert raised <= set(bulksubmit.__all__)


def test_importing_is_cheap() -> None:
    """``import bulksubmit`` brings no HTTP client and no identity library along."""
    code = (
        "import bulksubmit, sys;"
        "print(sorted({'aiohttp', 'azure', 'anyio', 'structlog'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
