"""Every scenario of configs/scenarios, on virtual time; a new one needs no code."""

import pytest

from bulksubmit.emulator.scenario import Scenario
from tests.scenarios.run import run, scenarios

# One of each kind is run every time, all by ``pytest -m thorough``.
ALWAYS = {
    "latency-knee",
    "limit-2",
    "outage-502",
    "tiny",
}


@pytest.mark.parametrize(
    "scenario",
    [
        pytest.param(each, id=each.name, marks=() if each.name in ALWAYS else pytest.mark.thorough)
        for each in scenarios()
    ],
)
def test_figures_are_as_the_scenario_expects(scenario: Scenario) -> None:
    """
    All is submitted, and each figure is in the range that the scenario's file gives.
    """
    timeline = run(scenario)

    assert timeline.error is None, f"{scenario.name}: {timeline.error}"
    off = [f"{scenario.name}: {each}" for each in timeline.measured() if not each.fits]
    assert not off, "\n".join([*off, f"all in all: {timeline}"])


def test_each_of_those_is_there() -> None:
    """
    None of those that are run every time has another name by now.
    """
    assert {each.name for each in scenarios()} > ALWAYS
