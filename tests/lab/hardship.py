# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a governed workload has to live through while it verifies itself."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from lab.hecad import Hecad
from lab.links import CuttableLink
from lab.workload import Workload

MIB = 1 << 20


@dataclass
class Plan:
    """The short form by default."""

    limits: list[int] = field(default_factory=lambda: [192, 320, 128, 400, 256, 160, 512, 224, 96, 256])  # MiB
    kills: int = 4
    cut_seconds: float = 5
    ticks_between: int = 1
    settle_seconds: float = 60  # longest wait for progress after each blow

    @staticmethod
    def long() -> Plan:
        return Plan(kills=20, ticks_between=6, settle_seconds=120)


@dataclass
class Account:
    """What was done and what it cost, for the report."""

    limits_set: int = 0
    kills: int = 0
    cut_seconds: float = 0
    longest_gap_ms: int = 0
    restart_seconds: list[float] = field(default_factory=list)
    errors: int = -1
    cells: int = 0


def crash_and_return(compute: Hecad, regions: list[str], account: Account) -> None:
    began = time.monotonic()
    compute.kill()
    compute.start()
    for region in regions:
        compute.wait_active(region)
    account.restart_seconds.append(time.monotonic() - began)
    account.kills += 1


def live_through(plan: Plan, compute: Hecad, guests: dict[str, Workload], link: CuttableLink | None) -> Account:
    """`guests` by their region's name. Raises LabError at the first sign of damage or of standing still."""
    account = Account()
    names = list(guests)

    def everyone_goes_on() -> None:
        with ThreadPoolExecutor(len(guests)) as pool:  # all at once: each waits for ticks of its own
            list(pool.map(lambda guest: guest.wait_ticks(plan.ticks_between, plan.settle_seconds), guests.values()))
        for guest in guests.values():
            guest.check()

    kills_per_step = [plan.kills * (step + 1) // len(plan.limits) - plan.kills * step // len(plan.limits)
                      for step in range(len(plan.limits))]
    for step, limit in enumerate(plan.limits):
        for name in names:
            compute.limit(name, f"{limit}MiB")
        account.limits_set += 1
        everyone_goes_on()
        for _ in range(kills_per_step[step]):
            crash_and_return(compute, names, account)
            everyone_goes_on()
        if link is not None and step == len(plan.limits) // 2:
            link.cut()
            time.sleep(plan.cut_seconds)  # the length of the cut is the thing tested
            link.mend()
            account.cut_seconds += plan.cut_seconds
            everyone_goes_on()
    return account


def come_home(compute: Hecad, guests: dict[str, Workload], account: Account) -> Account:
    """Verifies everything while governed, detaches, ends hecad, verifies again alone."""
    for name, guest in guests.items():
        account.errors = max(account.errors, guest.verify())
        compute.detach(name)
        guest.wait_ticks(1, 30)
    assert compute.regions() == []
    compute.terminate()
    for guest in guests.values():
        guest.wait_ticks(2, 30)
        account.errors = max(account.errors, guest.verify())
        guest.check()
        account.longest_gap_ms = max([account.longest_gap_ms, *(tick.max_gap_ms for tick in guest.ticks())])
    return account
