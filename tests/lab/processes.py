# SPDX-License-Identifier: LGPL-2.1-or-later
"""Child processes that cannot outlive the lab."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def with_death_signal(command: Sequence[str], user: str | None = None) -> list[str]:
    """The command run so that it dies with its parent, as `user` if given. setpriv execs: the pid stays."""
    prefix = ["setpriv", "--pdeathsig", "KILL"]
    if user is not None:
        entry = pwd.getpwnam(user)
        prefix += ["--reuid", str(entry.pw_uid), "--regid", str(entry.pw_gid), "--clear-groups"]
    return [*prefix, *command]


def spawn(command: Sequence[str], user: str | None = None, **options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(with_death_signal(command, user), **options)


def stop(process: subprocess.Popen[bytes], grace: float = 0.0) -> int:
    """SIGTERM if there is a grace, then SIGKILL; returns when the process is reaped, with its exit code."""
    if process.poll() is None and grace > 0:
        process.terminate()
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            pass
    if process.poll() is None:
        process.kill()
    return process.wait(30)


def open_files(pid: int) -> list[str]:
    """What the process's file descriptors are, by /proc; one that is closed while this looks may be left out."""
    found = []
    for number in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(os.readlink(number))
        except FileNotFoundError:
            pass
    return found


def userfaultfds(pid: int) -> int:
    """How many the process has open."""
    return sum("[userfaultfd]" in name for name in open_files(pid))


def tail(path: Path, lines: int = 25) -> str:
    if not path.exists():
        return f"({path.name}: not there)"
    text = path.read_text(errors="replace").splitlines()
    return "\n".join(f"    {line}" for line in text[-lines:])
