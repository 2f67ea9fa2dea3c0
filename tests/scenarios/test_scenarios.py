"""Every scenario of configs/scenarios, on virtual time; a new one needs no code."""

import pytest

from bulksubmit.emulator.scenario import Scenario
from tests.scenarios.run import run, scenarios


@pytest.mark.parametrize("scenario", list(scenarios()), ids=lambda scenario: scenario.name)
def test_figures_are_as_the_scenario_expects(scenario: Scenario) -> None:
    """
    All is submitted, and each figure is in the range that the scenario's file gives.
    """
    timeline = run(scenario)

    assert timeline.error is None, f"{scenario.name}: {timeline.error}"
    off = [f"{scenario.name}: {each}" for each in timeline.measured() if not each.fits]
    assert not off, "\n".join([*off, f"all in all: {timeline}"])
