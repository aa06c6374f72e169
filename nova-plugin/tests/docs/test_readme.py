# SPDX-License-Identifier: Apache-2.0
"""The README names what there is, and all that an operator can set."""

from __future__ import annotations

import re
from pathlib import Path

from heca_nova import conf, wish
from heca_nova.ops import inventory

PLUGIN = Path(__file__).resolve().parents[2]
README = (PLUGIN / "README.md").read_text(encoding="utf-8")


def test_every_option_is_told_and_every_told_option_is_one() -> None:
    table = README.split("## Options")[1].split("\n## ")[0]
    told = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert sorted(told) == sorted(option.name for option in conf.OPTIONS)


def test_every_module_is_on_the_map() -> None:
    table = README.split("## Map")[1].split("\n## ")[0]
    told = set(re.findall(r"`([\w/]+\.py)`", table))
    there = {str(path.relative_to(PLUGIN / "heca_nova")) for path in (PLUGIN / "heca_nova").rglob("*.py")
             if path.name != "__init__.py" and path.parent.name != "domain"}
    assert told == there


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)", README):
        if "://" not in target:
            assert (PLUGIN / target).exists(), target


def test_names_of_keys() -> None:
    for word in (wish.RESOURCE_REMOTE, wish.TRAIT, wish.LOCAL_PROPERTY, inventory.NEAR_STATISTIC, *wish.MIGRATIONS,
                 "heca:ratio", "heca:migration", "heca:replicas", "heca:transport"):
        assert word in README, word
