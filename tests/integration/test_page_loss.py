# SPDX-License-Identifier: LGPL-2.1-or-later
"""A sponsor that comes back without its memory: lost pages wait, or raise SIGBUS where that was asked for by name.
Never zeros, and never an answer about a page that is not lost."""

from __future__ import annotations

import shutil
import time

import pytest
from lab.bench import Bench
from lab.deadline import wait_until
from lab.hardship import MIB
from lab.hecad import CommandFailed, Hecad
from lab.page_probe import PAGE, PageProbe

PAGES = 64 * MIB // PAGE
LOCAL = 32 * MIB
CLEAN = 2048  # pages that are read, and so are here and at the sponsor


class Scene:
    """A probe with half of its pages away, and of those that are here many that were never written since they came."""

    def __init__(self, bench: Bench, *attach: str) -> None:
        self.sponsor: Hecad = bench.sponsor("256MiB")
        self.compute: Hecad = bench.compute(self.sponsor, prefetch=False)
        self.probe = bench.probe(PAGES)
        self.compute.attach(self.probe.pid, "p1", f"{LOCAL >> 20}MiB", extra=attach)
        self.compute.wait_resident_below("p1", LOCAL)
        # The next hecad has no write-back buffers that could answer for the sponsor.
        assert self.compute.terminate() == 0
        self.compute.start()
        self.compute.wait_active("p1")
        held = self.probe.here()
        away = [page for page in range(PAGES) if not held[page]]
        assert len(away) > PAGES // 3
        assert self.probe.read(away[:CLEAN]) == {"right"}
        self.away = away[CLEAN:]  # since before the restart

    def lose(self) -> None:
        """The sponsor's host has rebooted, as far as its slabs are concerned."""
        self.sponsor.kill()
        self.compute.wait_event("sponsor-disconnected")
        # A smaller limit, now: what is here is the only copy that is sure, and must not follow what is lost.
        with pytest.raises(CommandFailed):
            self.compute.ctl("--timeout", "1", "limit", "p1", f"{LOCAL >> 21}MiB")
        shutil.rmtree(self.sponsor.memory / "slabs")
        self.sponsor.start()
        self.compute.wait_event("sponsor-lost")
        held = self.probe.here()
        self.here = [page for page in range(PAGES) if held[page]]
        assert len(self.here) > PAGES // 3, "what was here has been dropped"

    def those_here_are_right(self) -> None:
        assert self.probe.read(self.here) == {"right"}


def test_lost_pages_wait(bench: Bench) -> None:
    scene = Scene(bench)
    scene.lose()
    asked = scene.probe.ask("read", scene.away[:20])
    scene.compute.wait_event("pages-lost")
    wait_until(lambda: scene.compute.region("p1")["state"] == "stalled", 20, "region stalled")
    assert "at no sponsor any more" in scene.compute.region("p1")["trouble"]
    scene.those_here_are_right()
    with pytest.raises(CommandFailed) as refused:
        scene.compute.detach("p1")
    assert "bring the sponsor back with its memory and say `hecactl resolve p1 --lost ask-again`" in refused.value.text
    time.sleep(1)  # the time in which a wrong answer would come
    answers = scene.probe.answers()
    assert not [answers[number] for number in asked if number in answers], "a lost page was answered"


def test_poison_only_for_pages_that_are_lost(bench: Bench) -> None:
    scene = Scene(bench, "--on-loss", "poison")
    scene.lose()
    scene.those_here_are_right()
    asked = scene.probe.ask("read", scene.away[:20]) + scene.probe.ask("write", scene.away[20:30])
    assert scene.probe.wait_answers(asked) == ["sigbus"] * 30
    scene.those_here_are_right()
    assert scene.probe.child.poll() is None


def test_poison_is_not_for_a_sponsor_that_is_out_of_reach(bench: Bench) -> None:
    scene = Scene(bench, "--on-loss", "poison")
    scene.sponsor.kill()
    asked = scene.probe.ask("read", scene.away[:20])
    scene.compute.wait_event("sponsor-disconnected")
    wait_until(lambda: scene.compute.region("p1")["state"] == "stalled", 20, "region stalled")
    time.sleep(1)  # the time in which a wrong answer would come
    answers = scene.probe.answers()
    assert not [answers[number] for number in asked if number in answers]
    scene.sponsor.start()  # with its memory
    assert scene.probe.wait_answers(asked, 60) == ["right"] * 20
    scene.compute.detach("p1")
    assert scene.probe.read(range(PAGES)) == {"right"}
