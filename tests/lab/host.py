# SPDX-License-Identifier: LGPL-2.1-or-later
"""A host among several on one machine: its own name, mounts, shared memory and /run/heca, at a Place in the network.

What it has in common with the others: processes are in one list, and every directory that is not made its own (/tmp).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.deadline import LabError, wait_until
from lab.namespace import Place
from lab.processes import spawn, stop

NO_NEIGHBOURS: Mapping[str, str] = {}


class Host:
    """`neighbours`: names of other hosts and their addresses, for /etc/hosts. `volatile`: directories of its own that are in
    memory, so that nobody waits for the machine's disk there (fsync). `home` is the host's directory on the machine, where
    they are found too. close() kills whatever still runs in its network with the host's mounts, and
    leaves no file."""

    def __init__(self, name: str, place: Place, neighbours: Mapping[str, str] = NO_NEIGHBOURS,
                 volatile: Sequence[Path] = ()) -> None:
        self.name, self.far = name, place.far
        self.home = Path(tempfile.mkdtemp(prefix=f"heca-{name}-", dir="/tmp"))
        self.volatile = Path(tempfile.mkdtemp(prefix=f"heca-{name}-", dir="/dev/shm"))
        for directory in (self.home, self.volatile):
            directory.chmod(0o755)  # QEMU, an unprivileged user, goes through it
        self._holder = spawn(place.inside(["unshare", "--mount", "--uts", "--propagation", "private", "--",
                                           "sleep", "infinity"]))
        try:
            wait_until(lambda: Path(f"/proc/{self._holder.pid}/comm").read_text() == "sleep\n", 60,
                       f"namespaces of host {name}")
            self.run("hostname", name)
            self.run("mount", "-t", "sysfs", "sysfs", "/sys")  # shows the network interfaces of this host, not of ours
            for path in volatile:  # before the machine's /dev/shm is out of sight
                content = self.own(path, self.volatile / path.relative_to("/"))
                (self.home / path.relative_to("/").parent).mkdir(parents=True, exist_ok=True)
                (self.home / path.relative_to("/")).symlink_to(content)
            self.mount_memory(Path("/dev/shm"), "mode=1777")
            self.mount_memory(Path("/run/heca"), "mode=755")
            hosts = self.home / "etc-hosts"
            lines = {"localhost": "127.0.0.1", **neighbours, name: self.far}
            hosts.write_text("".join(f"{address} {known}\n" for known, address in lines.items()))
            self.run("mount", "--bind", str(hosts), "/etc/hosts")
        except BaseException:
            Host.close(self)
            raise

    def inside(self, command: Sequence[str]) -> list[str]:
        """The command as run on the host; execs, so the pid stays. Paths must be absolute: it starts in /."""
        return ["nsenter", "--target", str(self._holder.pid), "--mount", "--net", "--uts", "--", *command]

    def outside(self, path: Path) -> Path:
        """Leads to a file of the host as long as the host is up."""
        return Path(f"/proc/{self._holder.pid}/root") / path.relative_to("/")

    def run(self, *command: str, seconds: float = 60) -> str:
        try:
            done = subprocess.run(self.inside(command), capture_output=True, text=True, timeout=seconds)
        except subprocess.TimeoutExpired:
            raise LabError(f"host {self.name}: {' '.join(command)}: not done within {seconds:g} s") from None
        if done.returncode != 0:
            raise LabError(f"host {self.name}: {' '.join(command)}: exit {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def mount_memory(self, path: Path, options: str) -> None:
        """A tmpfs of the host's own. A missing mount point is made on the machine, empty."""
        path.mkdir(parents=True, exist_ok=True)
        self.run("mount", "-t", "tmpfs", "-o", options, "heca-lab", str(path))

    def own(self, path: Path, content: Path | None = None) -> Path:
        """Makes a directory the host's own: `content`, or an empty one; where that is on the machine."""
        content = content or self.home / path.relative_to("/")
        content.mkdir(parents=True, exist_ok=True)
        path.mkdir(parents=True, exist_ok=True)
        self.run("mount", "--bind", str(content), str(path))
        return content

    def namespaces(self) -> dict[str, str]:
        """Kind and identity of those that are the host's own."""
        return {kind: os.readlink(f"/proc/{self._holder.pid}/ns/{kind}") for kind in ("net", "mnt", "uts")}

    def processes(self) -> list[int]:
        """All that have this host's mounts, the holder apart. Zombies have none."""
        mine = self.namespaces()["mnt"]
        if mine == os.readlink("/proc/self/ns/mnt"):  # it never got its own: these are the machine's
            return []
        found = []
        for process in Path("/proc").iterdir():
            if process.name.isdigit() and int(process.name) != self._holder.pid:
                try:
                    if os.readlink(process / "ns/mnt") == mine:
                        found.append(int(process.name))
                except OSError:  # gone, or a zombie
                    pass
        return found

    def processes_named(self, word: str) -> list[int]:
        """Those whose program has the word in its path."""
        found = []
        for pid in self.processes():
            try:
                if word in os.readlink(f"/proc/{pid}/exe"):
                    found.append(pid)
            except OSError:  # gone
                pass
        return found

    def _kill_all(self) -> None:
        def gone() -> bool:
            left = self.processes()
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            return not left

        wait_until(gone, 30, f"end of the processes of host {self.name}")

    def close(self) -> None:
        """Twice is fine."""
        try:
            if self._holder.poll() is None:
                self._kill_all()
        finally:
            stop(self._holder)
            for directory in (self.home, self.volatile):
                shutil.rmtree(directory, ignore_errors=True)
