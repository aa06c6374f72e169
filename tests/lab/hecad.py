# SPDX-License-Identifier: LGPL-2.1-or-later
"""A hecad with directories, ports and a hecad.toml of its own; and hecactl."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lab.deadline import LabError, wait_until
from lab.namespace import Place
from lab.paths import binary
from lab.processes import spawn, stop, tail
from lab.qemu import Qemu
from lab.sanitizer import report


class CommandFailed(LabError):
    """hecactl refused. `text` is what it said, `code` its exit code."""

    def __init__(self, command: Sequence[str], code: int, text: str) -> None:
        super().__init__(f"{' '.join(command)}: exit {code}: {text.strip()}")
        self.code, self.text = code, text


def run_hecactl(socket_path: Path, *arguments: str, seconds: float = 60) -> str:
    command = [str(binary("hecactl")), "--socket", str(socket_path), "--json", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise LabError(f"{' '.join(command)}: not done within {seconds:g} s") from None
    if done.returncode != 0:
        raise CommandFailed(command, done.returncode, done.stderr)
    return done.stdout


def hecactl(socket_path: Path, *arguments: str, seconds: float = 60) -> Any:
    """Runs `hecactl --json ARGUMENTS`; the answer, or CommandFailed."""
    return json.loads(run_hecactl(socket_path, *arguments, seconds=seconds))


# Below the kernel's ephemeral ports, so that no outgoing connection takes one between here and hecad's start; each
# parallel worker of pytest has a thousand of its own.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_PORTS = itertools.cycle(range(20000 + 1000 * _WORKER, 21000 + 1000 * _WORKER))


def free_port(address: str) -> int:
    for port in itertools.islice(_PORTS, 1000):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as hecad does: a closed connection is no user
            try:
                probe.bind((address, port))
                return port
            except OSError:
                continue
    raise LabError(f"no free port for {address}")


class Node(Protocol):
    """What another hecad has to know of one, also before it runs."""

    name: str
    address: str
    control_port: int


PORTS = (7300, 7301, 9464)  # hecad's own choice, where it has an address for itself: control, data, metrics


@dataclass
class Peer:
    """A hecad that is not made yet, at an address of its own."""

    name: str
    address: str
    control_port: int = PORTS[0]


class Hecad:
    """A compute node, a sponsor (donate), or both. start(), kill(), start() again is the crash that users have."""

    def __init__(self, name: str, logs: Path, donate: str = "0", peers: Sequence[Node] = (),
                 link: Place | None = None, fail: str = "", program: Path | None = None,
                 user: str | None = None, metrics: bool = False, **options: str | int | bool) -> None:
        self.name, self.logs, self.link, self.user = name, logs, link, user
        self.program = program or binary("hecad")
        self.home = Path(tempfile.mkdtemp(prefix=f"heca-{name}-", dir="/tmp"))
        self.memory = Path(tempfile.mkdtemp(prefix=f"heca-{name}-", dir=self._outside("/dev/shm")))
        memory = Path("/dev/shm") / self.memory.name  # as hecad sees it
        self.address = link.far if link else "127.0.0.1"
        self.fail = fail
        ports = PORTS if link else [free_port("127.0.0.1") for _ in range(3)]
        self.control_port, self.data_port, self.metrics_port = ports
        self.log = logs / f"{name}.hecad.log"
        settings: dict[str, str | int | bool] = {
            "name": name, "run-dir": str(memory / "run"), "socket": str(self.home / "hecad.sock"),
            "control-listen": f"{self.address}:{self.control_port}",
            "data-listen": f"{self.address}:{self.data_port}",
            # Its HTTP server takes two seconds to stop.
            "metrics-listen": f"{self.address}:{self.metrics_port}" if metrics else "off",
            "slab-dir": str(memory / "slabs"), "donate": donate, "log-level": "debug",
            **{key.replace("_", "-"): value for key, value in options.items()}}
        self.socket, self._run_dir, slabs = [self._outside(str(settings[key])) for key in
                                             ("socket", "run-dir", "slab-dir")]
        self._directories = [self._run_dir, slabs]
        self.config = self.home / "hecad.toml"
        text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
        for peer in peers:
            text += f'\n[[peer]]\nname = "{peer.name}"\naddress = "{peer.address}:{peer.control_port}"\n'
        self.config.write_text(text)
        self.process: subprocess.Popen[bytes] | None = None
        self.restarts = -1

    def _outside(self, path: str) -> Path:
        return self.link.outside(Path(path)) if self.link else Path(path)

    def start(self, wait: bool = True) -> Hecad:
        assert self.process is None
        if not self.program.exists():
            raise LabError(f"{self.program} is not built")
        for directory in self._directories:
            directory.mkdir(parents=True, exist_ok=True)
        if self.user is not None:
            for owned in (self.home, self.memory, *self._directories):
                shutil.chown(owned, self.user)
        command = [str(self.program), "--config", str(self.config)]
        environment = {**os.environ, "HECA_FAIL": self.fail} if self.fail else dict(os.environ)
        self.restarts += 1
        with self.log.open("ab") as out:
            self.process = spawn(self.link.inside(command) if self.link else command, self.user,
                                 stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment)
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, seconds: float = 20) -> None:
        def ready() -> bool:
            if self.process is None or self.process.poll() is not None:
                code = self.process.returncode if self.process else None
                raise LabError(f"hecad {self.name} ended with {code}:\n{tail(self.log)}")
            try:
                self.ctl("status", seconds=5)
                return True
            except LabError:
                return False

        wait_until(ready, seconds, f"hecad {self.name} ready\n{tail(self.log)}", poll=0.05)

    def ctl(self, *arguments: str, seconds: float = 60) -> Any:
        return hecactl(self.socket, *arguments, seconds=seconds)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """SIGKILL, as a crash."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)
        self.process = None

    def terminate(self, seconds: float = 20) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        self.process.terminate()
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise LabError(f"hecad {self.name} ignores SIGTERM:\n{tail(self.log)}") from None
        self.process = None
        return code

    def wait_exit(self, seconds: float = 20) -> int:
        """For a crash that a fail point causes; the exit code (-9 for SIGKILL)."""
        assert self.process is not None
        code = self.process.wait(seconds)
        self.process = None
        return code

    def resident_kib(self) -> int:
        """Private memory of this hecad's process, for tests against growth: not the pages that it lends."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon:"))

    def metric(self, name: str, **labels: str) -> float:
        """One value of its Prometheus endpoint (`metrics=True`); 0 if there is no such line."""
        with urllib.request.urlopen(f"http://{self.address}:{self.metrics_port}/metrics", timeout=10) as page:
            for line in page.read().decode().splitlines():
                head, _, value = line.rpartition(" ")
                if head.split("{")[0] == name and all(f'{key}="{text}"' in head for key, text in labels.items()):
                    return float(value)
        return 0.0

    # The verbs that tests use; the only place that knows hecactl's words and keys.

    def attach(self, pid: int, name: str, local: str, qmp: Path | None = None, seconds: float = 60,
               extra: Sequence[str] = ()) -> Any:
        where = ["--qmp", str(qmp)] if qmp else []
        return self.ctl("attach", "--pid", str(pid), *where, "--local", local, "--name", name, *extra,
                        seconds=seconds)

    def attach_when_known(self, pid: int, name: str, local: str, seconds: float = 20) -> None:
        """Where a sponsor has got memory back just now: the news of it goes round once a second."""
        def attached() -> bool:
            try:
                self.attach(pid, name, local)
                return True
            except CommandFailed:
                return False

        wait_until(attached, seconds, f"hecad {self.name} attaches {name}", poll=0.2)

    def attach_domain(self, domain: str, local: str, seconds: float = 60) -> Any:
        """The region has the domain's name."""
        return self.ctl("attach", "--domain", domain, "--local", local, seconds=seconds)

    def limit(self, name: str, size: str, seconds: float = 120) -> Any:
        return self.ctl("limit", name, size, seconds=seconds)

    def detach(self, name: str, seconds: float = 180) -> Any:
        return self.ctl("detach", name, seconds=seconds)

    def migrate(self, source: Qemu, destination: Qemu, to: str, *options: str, seconds: float = 120) -> Any:
        """The VM of one QEMU to another one that waits, at the node `to`; what hecactl says of it."""
        answer = self.ctl("migrate", "--pid", str(source.pid), "--qmp", str(source.heca_qmp), to,
                          "--dest-pid", str(destination.pid), "--dest-qmp", str(destination.heca_qmp),
                          "--uri", destination.incoming_uri, *options, seconds=seconds)
        return answer["migration"]

    def regions(self) -> list[dict[str, Any]]:
        regions: list[dict[str, Any]] = self.ctl("regions")["regions"]
        return regions

    def region(self, name: str) -> dict[str, Any]:
        for region in self.regions():
            if region["name"] == name:
                return region
        raise LabError(f"hecad {self.name} has no region {name}")

    def wait_active(self, name: str, seconds: float = 20) -> None:
        wait_until(lambda: self.region(name)["state"] == "active", seconds, f"region {name} active", poll=0.1)

    def wait_resident_below(self, name: str, size: int, seconds: float = 60) -> int:
        def look() -> int | None:
            resident = int(self.region(name)["resident_bytes"])
            return resident if resident <= size else None

        return wait_until(look, seconds, f"region {name} within {size >> 20} MiB", poll=0.2)

    def wait_gone(self, name: str, seconds: float = 30) -> None:
        wait_until(lambda: all(region["name"] != name for region in self.regions()), seconds, f"end of region {name}",
                   poll=0.1)

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in run_hecactl(self.socket, "events").splitlines()]

    def wait_event(self, kind: str, seconds: float = 30) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            return next((event for event in self.events() if event["kind"] == kind), None)

        return wait_until(look, seconds, f"event {kind} of hecad {self.name}", poll=0.1)

    def leases(self) -> list[dict[str, Any]]:
        """What this hecad has lent."""
        leases: list[dict[str, Any]] = self.ctl("leases")["leases"]
        return leases

    def close(self) -> None:
        if self.process is not None:
            stop(self.process, grace=5)
            self.process = None
        self._forget_departures()
        shutil.rmtree(self.home, ignore_errors=True)
        shutil.rmtree(self.memory, ignore_errors=True)
        if (found := report(self.log)) is not None:
            raise LabError(f"hecad {self.name}, its sanitizer:\n{found}")

    def _forget_departures(self) -> None:
        """Its names of RAM files of VMs that have left: the next hecad would keep them until they are not needed."""
        for record in self._run_dir.glob("departures/*.json"):
            for block in json.loads(record.read_text())["blocks"]:
                if block["link"]:
                    self._outside(block["link"]).unlink(missing_ok=True)
