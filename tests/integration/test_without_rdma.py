# SPDX-License-Identifier: LGPL-2.1-or-later
"""hecad as it is where libibverbs is missing: everything but RDMA builds and runs, and it says what it lacks."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from lab.bench import Bench
from lab.deadline import LabError
from lab.guest_image import run
from lab.hardship import MIB
from lab.hecad import CommandFailed
from lab.paths import BUILD, ROOT

TRANSPORT = "CMakeFiles/heca_transport.dir/core/transport"
LEFT_OUT = "this hecad was built without RDMA"


@pytest.fixture(scope="module")
def hecad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Linked as CMake links it there, from this build's objects and from those that differ."""
    build = tmp_path_factory.mktemp("without-rdma")
    run(["cmake", "--preset", BUILD.name, "-B", str(build), "-DHECA_RDMA=OFF"], cwd=ROOT)
    files = [Path(entry["file"]) for entry in json.loads((build / "compile_commands.json").read_text())]
    assert [file.name for file in files if file.parent == ROOT / "core/transport/rdma"] == ["without.cc"]
    run(["ninja", "-C", str(build), f"{TRANSPORT}/rdma/without.cc.o"])
    objects = [build / TRANSPORT / "rdma/without.cc.o", *sorted((BUILD / TRANSPORT).glob("*.cc.o"))]
    link = run(["ninja", "-C", str(build), "-t", "commands", "hecad"]).splitlines()[-1].removeprefix(": && ").removesuffix(" && :")
    linked = build / "hecad"
    words: list[str] = []
    for word in shlex.split(link):
        words += {"libheca_transport.a": [str(one) for one in objects], "hecad": [str(linked)]}.get(word, [word])
    run(words, cwd=BUILD)
    return linked


def test_it_needs_no_library_of_rdma(hecad: Path) -> None:
    needed = run(["ldd", str(hecad)])
    assert "libgrpc++" in needed and "libibverbs" not in needed and "librdmacm" not in needed


def test_it_lends_and_governs_over_tcp(hecad: Path, bench: Bench) -> None:
    sponsor = bench.sponsor("256MiB", program=hecad)
    compute = bench.compute(sponsor, program=hecad)
    process = bench.native(mib=64, threads=4, rate=1000)
    process.wait_ready()
    checks = {check["name"]: check for check in compute.ctl("doctor")["checks"]}
    assert checks["rdma"]["verdict"] == "ok" and LEFT_OUT in checks["rdma"]["what"]
    with pytest.raises(CommandFailed, match=f"{LEFT_OUT}.*say transport auto or tcp"):
        compute.attach(process.pid, "p1", "32MiB", extra=["--transport", "rdma"])
    compute.attach(process.pid, "p1", "32MiB")
    compute.wait_resident_below("p1", 32 * MIB)
    process.wait_ticks(2, 60)
    assert [store["transport"] for store in compute.region("p1")["stores"]] == ["tcp"]
    assert process.verify() == 0
    compute.detach("p1")
    process.check()


def test_it_does_not_start_where_nothing_but_rdma_is_allowed(hecad: Path, bench: Bench) -> None:
    with pytest.raises(LabError, match=f"transport rdma: {LEFT_OUT}"):
        bench.sponsor("64MiB", program=hecad, transport="rdma")
