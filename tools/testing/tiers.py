# SPDX-License-Identifier: LGPL-2.1-or-later
"""The tiers of tools/test: what each needs and how it runs."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from results import Results, from_gtest, from_junit

ROOT = Path(__file__).resolve().parents[2]
LOGS = ROOT / "build" / "test"
PYTHON = "/usr/bin/python3"  # Debian's, which Debian's packages belong to

# Rooms whose unit tests are also built with sanitizers in the short form: those that parse foreign bytes or touch raw
# memory, and those with threads of their own. Not those that compile gRPC's headers; `long` takes every room, and
# integration against hecad itself: to build it costs 8 minutes of CPU for asan and 6 for tsan.
SANITIZED: dict[str, tuple[str, ...]] = {
    "asan": ("base", "os", "domain", "wire", "region", "transport", "fault", "guest"),
    "tsan": ("transport", "fault"),
}
SECONDS_PER_PROGRAM = 300


build_seconds: list[float] = []  # of every build that a tier waited for


class BuildFailed(Exception):
    pass


def run(command: list[str], log: Path | None = None, seconds: float = 3600,
        environment: Mapping[str, str] | None = None) -> int:
    """Exit code; 124 when it took longer than `seconds`. Output goes to the log or to the terminal."""
    out = log.open("wb") if log else None
    try:
        return subprocess.run(command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT if out else None,
                              timeout=seconds, env={**os.environ, **(environment or {})}).returncode
    except subprocess.TimeoutExpired:
        return 124
    finally:
        if out:
            out.close()


def targets(preset: str) -> list[str]:
    listed = subprocess.run(["ninja", "-C", f"build/{preset}", "-t", "targets", "all"], cwd=ROOT, check=True,
                            capture_output=True, text=True)
    names = [line.split(":")[0] for line in listed.stdout.splitlines()]
    return [name for name in names if "/" not in name and not name.startswith("cmake_object_order")]


def configure(preset: str) -> None:
    log = LOGS / f"configure-{preset}.log"
    if run(["cmake", "--preset", preset], log) != 0:
        raise BuildFailed(f"configuring {preset} failed:\n" + log.read_text(errors="replace")[-4000:])


def behind(command: list[str]) -> list[str]:
    """Of the lowest priority, beside programs of other sessions too (a VM that libvirt starts): where sched_autogroup is on, each
    session has its share of the CPUs, and niceness counts within it only (sched(7)). It ends with the thread that starts it."""
    alone = '{ echo 19 >/proc/self/autogroup; } 2>/dev/null; exec nice -n 19 "$@"'
    return ["setpriv", "--pdeathsig", "TERM", "setsid", "sh", "-c", alone, "sh", *command]


def build(preset: str, wanted: list[str] | None = None, ahead: bool = False) -> None:
    """`ahead` of its time: behind tests."""
    configure(preset)
    log = LOGS / f"build-{preset}.log"
    command = ["ninja", "-C", f"build/{preset}", *(wanted or [])]
    began = time.monotonic()
    code = run(behind(command) if ahead else command, log)
    if not ahead:
        build_seconds.append(time.monotonic() - began)
    if code != 0:
        text = log.read_text(errors="replace")
        at = text.find("FAILED:")
        raise BuildFailed(f"building {preset} failed:\n" + text[max(at, 0):][:6000])


def run_programs(preset: str, programs: list[Path], environment: Mapping[str, str] | None = None) -> Results:
    results = Results()
    for program in programs:
        log = LOGS / f"{preset}-{program.name}.log"
        code = run([str(program)], log, SECONDS_PER_PROGRAM, environment)
        text = log.read_text(errors="replace")
        found = from_gtest(f"{preset}/{program.name}", text, code)
        if found.failures:
            print(text[-6000:])
        results.add(found)
    return results


def test_programs(preset: str) -> list[Path]:
    return sorted(path for path in (ROOT / "build" / preset).rglob("*_test")
                  if path.is_file() and os.access(path, os.X_OK))


def lint() -> Results:
    done = subprocess.run([PYTHON, "tools/lint-rooms"], cwd=ROOT, capture_output=True, text=True)
    problems = [line for line in done.stdout.splitlines() if line.startswith("lint: ")]
    if done.returncode != 0 and not problems:
        problems = [f"tools/lint-rooms ended with {done.returncode}: {done.stderr[-500:]}"]
    return Results(passed=0 if problems else 1, failures=problems)


def unit() -> Results:
    build("dev")
    return run_programs("dev", test_programs("dev"))


def pytest(folder: str, *arguments: str, environment: Mapping[str, str] | None = None) -> Results:
    report = LOGS / f"{Path(folder).name}.xml"
    report.unlink(missing_ok=True)
    code = run([PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", folder, *arguments],
               environment=environment)
    return from_junit(folder, report, code)


# For tests that mostly wait: guests that boot, memory that comes. A file stays together, since its tests may share equipment.
TWO_AT_ONCE = ("-n", "2", "--dist", "loadfile")


def python() -> Results:
    build("dev", ["hecad", "hecactl", "fake_hecad", "heca-hook", "heca-hook-tell", "_core"])
    return pytest("tests/python", *TWO_AT_ONCE)


def integration() -> Results:
    build("dev")
    return pytest("tests/integration", *TWO_AT_ONCE)


OPENSTACK = "tests/lab/openstack"  # with packages that the others do not need
RDMA = "tests/lab/rdma"
APART = [f"--ignore={tier}" for tier in (OPENSTACK, RDMA)]  # tiers of their own


def lab() -> Results:
    build("dev")
    return pytest("tests/lab", *APART, *TWO_AT_ONCE)


def install_openstack() -> None:
    log = LOGS / "install-openstack.log"
    if run(["tools/install-packages", "openstack"], log) != 0:
        raise BuildFailed("the packages of OpenStack cannot be installed:\n" + log.read_text(errors="replace")[-4000:])


def nova() -> Results:
    install_openstack()
    build("dev", ["hecad", "hecactl", "_core"])
    results = pytest("nova-plugin/osc/tests")
    results.add(pytest("nova-plugin/tests/unit", environment={"HECA_BUILD": str(ROOT / "build/dev")}))
    return results


def lab_openstack(environment: Mapping[str, str] | None = None) -> Results:
    install_openstack()
    build("dev", ["hecad", "hecactl", "heca-hook", "heca-hook-tell", "_core"])
    return pytest(OPENSTACK, environment=environment)


def lab_rdma(environment: Mapping[str, str] | None = None) -> Results:
    build("dev", ["transport_test", "hecad", "hecactl"])
    return pytest(RDMA, environment=environment)


RDMA_DEVICES = Path("/sys/class/infiniband")
DEVICE_VARIABLE = "HECA_RDMA_DEVICE"  # to tier `rdma` and its tests


def why_not_device(name: str | None) -> str | None:
    """What is wrong with it as the device of tier `rdma`, and what helps."""
    there = sorted(path.name for path in RDMA_DEVICES.iterdir()) if RDMA_DEVICES.exists() else []
    known = f"this host has {', '.join(there)}" if there else (
        "this host has none: load its driver (modprobe mlx5_ib, ...), or run lab-rdma, which has software devices in a guest")
    if name is None:
        return f"rdma needs --device NAME; {known}"
    return None if name in there else f"there is no RDMA device {name}; {known}"


def rdma() -> Results:
    build("dev", ["transport_test", "hecad", "hecactl"])
    return pytest(f"{RDMA}/test_rdma.py")


def build_fuzz(ahead: bool = False) -> list[str]:
    configure("fuzz")
    names = [name for name in targets("fuzz") if name.endswith("_fuzz")]
    if names:
        build("fuzz", names, ahead)
    return names


def fuzz_one(name: str, seconds: int) -> Results:
    program = next(path for path in (ROOT / "build/fuzz").rglob(name) if path.is_file())
    corpus = ROOT / "build/fuzz/corpus" / name  # what libFuzzer finds; the seeds are only read
    corpus.mkdir(parents=True, exist_ok=True)
    seeds = ROOT / "tests/fuzz/corpus" / name.removesuffix("_fuzz")
    log = LOGS / f"{name}.log"
    command = [str(program), f"-max_total_time={seconds}", f"-artifact_prefix={LOGS}/{name}-", str(corpus)]
    if run(command + ([str(seeds)] if seeds.is_dir() else []), log, seconds + 120) == 0:
        return Results(passed=1)
    print(log.read_text(errors="replace")[-4000:])
    return Results(failures=[f"{name}: see {log.relative_to(ROOT)}"])


def fuzz(seconds: int = 10) -> Results:
    names = build_fuzz()
    if not names:
        return Results(failures=["fuzz: no target ends in _fuzz"])
    results = Results()
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # each takes one CPU
        for found in pool.map(lambda name: fuzz_one(name, seconds), names):
            results.add(found)
    return results


SANITIZER_OPTIONS = {
    "ASAN_OPTIONS": "detect_stack_use_after_return=1:abort_on_error=0",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
}


# gRPC and abseil are Debian's and not instrumented.
HECAD_UNDER_TSAN = f"ignore_noninstrumented_modules=1:suppressions={ROOT}/tests/support/tsan-hecad.supp"


def with_grpc(preset: str) -> dict[str, str]:
    """Options of a sanitizer for programs that gRPC's threads run in."""
    if preset != "tsan":
        return SANITIZER_OPTIONS
    return {**SANITIZER_OPTIONS, "TSAN_OPTIONS": f"{SANITIZER_OPTIONS['TSAN_OPTIONS']}:{HECAD_UNDER_TSAN}"}


def build_sanitized(preset: str, rooms: tuple[str, ...] | None, ahead: bool = False) -> list[str]:
    """Of these rooms; None: of all that have tests."""
    configure(preset)
    there = {name for name in targets(preset) if name.endswith("_test")}
    wanted = sorted(there if rooms is None else {f"{room}_test" for room in rooms})
    build(preset, wanted, ahead)
    return wanted


def run_sanitized(preset: str, wanted: list[str], options: Mapping[str, str]) -> Results:
    return run_programs(preset, [path for path in test_programs(preset) if path.name in wanted], options)


def sanitizers() -> Results:
    wanted = {preset: build_sanitized(preset, rooms) for preset, rooms in SANITIZED.items()}
    results = Results()
    with ThreadPoolExecutor(len(wanted)) as pool:
        for found in pool.map(lambda one: run_sanitized(*one, SANITIZER_OPTIONS), wanted.items()):
            results.add(found)
    return results


LONG = {"HECA_LONG": "1", "PYTEST_ADDOPTS": "-o timeout=7200"}


def long_unit() -> Results:
    results = Results()
    for preset in ("asan", "ubsan", "tsan"):
        results.add(run_sanitized(preset, build_sanitized(preset, None), with_grpc(preset)))
    return results


def long_integration() -> Results:
    build("dev")
    return pytest("tests/integration", *TWO_AT_ONCE, environment=LONG)


def long_lab() -> Results:
    build("dev")
    return pytest("tests/lab", *APART, *TWO_AT_ONCE, environment=LONG)


def long_lab_rdma() -> Results:
    return lab_rdma(LONG)


def long_process() -> Results:
    results = Results()
    for preset in ("asan", "tsan"):
        build(preset, ["hecad", "hecactl"])
        environment = {**LONG, "HECA_BUILD": str(ROOT / "build" / preset), **with_grpc(preset)}
        results.add(pytest("tests/integration", "-k", "process", environment=environment))
        # The short form: what is longer in the other one is the waiting.
        results.add(pytest("tests/lab/test_migration.py", environment={**environment, "HECA_LONG": "0"}))
    return results


def long_fuzz() -> Results:
    return fuzz(seconds=300)


def long() -> Results:
    results = Results()
    for part in (long_unit, long_integration, long_lab, long_process, long_fuzz):
        results.add(part())
    return results


@dataclass(frozen=True)
class Tier:
    """`ahead` builds what it needs, and can do so behind a tier that mostly waits."""

    needs: str
    run: Callable[[], Results]
    mostly_waits: bool = False
    ahead: Callable[[], object] | None = None
    by_name: bool = False  # runs only when it is asked for
    in_ci: bool = False    # or by continuous integration


TIERS: dict[str, Tier] = {
    "lint": Tier("nothing but the sources", lint),
    "python": Tier("python3-pytest and a dev build; root for userfaultfd, or skips", python),
    "unit": Tier("a dev build; root for userfaultfd, or skips", unit),
    "integration": Tier("a dev build, root, /dev/userfaultfd", integration, mostly_waits=True),
    "lab": Tier("a dev build, root, qemu-system-x86_64, libvirtd, namespaces, 4 GiB of /dev/shm", lab,
                mostly_waits=True),
    "nova": Tier("the packages of lab-openstack, which it installs", nova, by_name=True, in_ci=True),
    "lab-openstack": Tier("what lab needs, and a whole OpenStack from Debian's packages, which it installs", lab_openstack,
                          by_name=True, in_ci=True),
    "lab-rdma": Tier("what lab needs; the kernel's source, which it downloads (150 MB)", lab_rdma, by_name=True,
                     in_ci=True),
    "rdma": Tier("what lab-rdma runs in a guest, here: root, an RDMA device of this host (--device), its interface and address",
                 rdma, by_name=True),
    "fuzz": Tier("clang with libFuzzer", fuzz, ahead=lambda: build_fuzz(ahead=True)),
    "sanitizers": Tier("; ".join(f"{preset} builds of {', '.join(rooms)}" for preset, rooms in SANITIZED.items()),
                       sanitizers,
                       ahead=lambda: [build_sanitized(preset, rooms, ahead=True) for preset, rooms in SANITIZED.items()]),
    "long-unit": Tier("asan, ubsan and tsan builds of every room", long_unit, by_name=True),
    "long-integration": Tier("what integration needs, 20 minutes", long_integration, by_name=True),
    "long-lab": Tier("what lab needs, an hour and a half", long_lab, by_name=True),
    "long-lab-rdma": Tier("what lab-rdma needs, 20 minutes", long_lab_rdma, by_name=True),
    "long-process": Tier("asan and tsan builds of hecad; what lab needs", long_process, by_name=True),
    "long-fuzz": Tier("what fuzz needs, 25 minutes", long_fuzz, by_name=True),
    "long": Tier("all parts of long-*, some hours", long, by_name=True),
}
