"""The stages are timed and drawn; how long they take is for people to read, and never asserted."""

import subprocess
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks.stages.icicle import Node, Sampler, draw

ROOT = Path(__file__).parents[1]
STAGES = "read, split|validate|dedupe|partition|encode|sign|decode|settle|journal|observe"


@pytest.mark.thorough
def test_each_stage_is_timed_and_the_whole_drawn(tmp_path: Path) -> None:
    """At a tiny size: a row for each stage, and a picture for each kind of tasks."""
    command = [sys.executable, "-m", "benchmarks.stages", "--rounds", "1", "--tasks-max", "20000"]
    command += ["--results", str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)

    assert ended.returncode == 0, ended.stderr
    table = (tmp_path / "stages.md").read_text("utf-8")
    assert all(f"| {stage} |" in table for stage in STAGES.split("|"))
    for kind in ("small", "rich"):
        assert ET.parse(tmp_path / f"stages-{kind}.svg").getroot().tag.endswith("svg")  # noqa: S314


def test_stacks_become_a_tree(tmp_path: Path) -> None:
    """
    What is above the place where it begins, and what says nothing, is left out; each box is as
    wide as it was sampled often, below the one that called it.
    """
    sampler = Sampler()
    sampler._stacks = Counter(  # noqa: SLF001 - as if they had been taken
        {
            ("main (a)", "run (b)", "Files._read.<locals>.guarded (c)", "work (d)"): 3,
            ("main (a)", "run (b)", "rest (e)"): 1,
        }
    )

    tree = sampler.tree(below=lambda name: name.startswith("run "))
    draw(tree, tmp_path / "tree.svg", title="A <title>")

    calls = {"work (d)": Node("work (d)", 3), "rest (e)": Node("rest (e)", 1)}
    assert tree == Node("all", 4, calls)
    picture = ET.parse(tmp_path / "tree.svg").getroot()  # noqa: S314 - we have made it
    names = [each.text for each in picture.iter("{http://www.w3.org/2000/svg}title")]
    assert names == ["all: 100.0%", "work (d): 75.0%", "rest (e): 25.0%"]


def test_samples_are_taken() -> None:
    """Of a busy process, until it is said to stop."""
    sampler = Sampler()
    with sampler.running():
        while sampler.tree(below=lambda _: False).samples < 3:
            sum(range(10_000))

    tree = sampler.tree(below=lambda name: name.startswith("test_samples_are_taken "))
    assert tree.samples >= 3
