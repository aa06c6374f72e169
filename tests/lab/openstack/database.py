# SPDX-License-Identifier: LGPL-2.1-or-later
"""MariaDB with its files in memory, and a database for each service."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from lab.deadline import wait_until
from lab.host import Host
from lab.openstack.process import Daemon, Job

USER, PASSWORD = "lab", "lab"
DATABASES = ("keystone", "placement", "glance", "nova_api", "nova_cell0", "nova")
# What is lost by a crash of the machine is the whole lab: nothing is written through.
OPTIONS = ("--skip-networking=0", "--innodb-flush-log-at-trx-commit=0", "--innodb-flush-method=nosync", "--skip-log-bin",
           "--innodb-doublewrite=0", "--innodb-buffer-pool-size=128M", "--innodb-log-file-size=48M",
           "--performance-schema=OFF", "--max-connections=400", "--character-set-server=utf8mb3")


class Database:
    """Starts in the constructor; wait_ready() before anybody uses it. It is reached from `host` only."""

    def __init__(self, host: Host, logs: Path) -> None:
        self._host = host
        self._files = host.outside(Path("/dev/shm/mysql"))
        self._socket = host.home / "mysql.sock"
        self._log = logs / "mariadb.log"
        self._made = Job("mariadb-install-db", host,
                         ["mariadb-install-db", "--no-defaults", "--user=root", "--datadir=/dev/shm/mysql",
                          "--auth-root-authentication-method=normal", "--skip-test-db", *OPTIONS[1:5]], self._log)
        self._daemon: Daemon | None = None

    def start(self) -> None:
        """Once its files are made."""
        self._made.wait(120)
        self._daemon = Daemon("mariadbd", self._host,
                              ["mariadbd", "--no-defaults", "--user=root", "--datadir=/dev/shm/mysql",
                               f"--socket={self._socket}", f"--pid-file={self._host.home}/mysql.pid",
                               "--bind-address=127.0.0.1", *OPTIONS], self._log)

    def wait_ready(self) -> None:
        def listens() -> bool:
            assert self._daemon
            self._daemon.alive_or_raise()
            return self._socket.exists() and self._try(["SELECT 1"])

        wait_until(listens, 60, "MariaDB answers", poll=0.05)
        self.execute([f"CREATE USER '{USER}'@'%' IDENTIFIED BY '{PASSWORD}'",
                      *(f"CREATE DATABASE {name}" for name in DATABASES),
                      f"GRANT ALL ON *.* TO '{USER}'@'%'"])

    def _command(self, statements: Sequence[str]) -> list[str]:
        return ["mariadb", "--no-defaults", f"--socket={self._socket}", "--user=root", "--batch", "--skip-column-names",
                "--execute", ";".join(statements)]

    def _try(self, statements: Sequence[str]) -> bool:
        return subprocess.run(self._command(statements), capture_output=True, timeout=20).returncode == 0

    def execute(self, statements: Sequence[str]) -> list[list[str]]:
        """Rows of all of them, as text."""
        done = subprocess.run(self._command(statements), capture_output=True, text=True, timeout=60, check=True)
        return [line.split("\t") for line in done.stdout.splitlines()]

    def close(self) -> None:
        if self._daemon:
            self._daemon.kill()
        shutil.rmtree(self._files, ignore_errors=True)


def url(database: str) -> str:
    """For a service on the database's host."""
    return f"mysql+pymysql://{USER}:{PASSWORD}@127.0.0.1/{database}?charset=utf8"
