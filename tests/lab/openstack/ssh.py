# SPDX-License-Identifier: LGPL-2.1-or-later
"""sshd on each compute host, by which Nova copies a server's disk when it is resized or moves cold."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from lab.libvirt_host import LibvirtHost
from lab.openstack.process import Daemon

HOME = Path("/root/.ssh")


class Ssh:
    """root of each host may log in to root of each other one, by a key that exists as long as this does."""

    def __init__(self, hosts: Sequence[LibvirtHost], logs: Path) -> None:
        self._stack = ExitStack()
        key = hosts[0].home / "ssh-key"
        self._make_key(key)
        try:
            for host in hosts:
                self._furnish(host, key)
                self._run(host, logs)
        except BaseException:
            self.close()
            raise

    @staticmethod
    def _make_key(file: Path) -> None:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(file)], check=True, timeout=30)

    @staticmethod
    def _furnish(host: LibvirtHost, key: Path) -> None:
        home = host.own(HOME)
        home.chmod(0o700)
        shutil.copy(key, home / "id_ed25519")
        shutil.copy(key.with_suffix(".pub"), home / "authorized_keys")
        (home / "config").write_text("StrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nLogLevel ERROR\n")

    def _run(self, host: LibvirtHost, logs: Path) -> None:
        identity = host.home / "ssh-host-key"
        self._make_key(identity)
        host.run("mkdir", "-p", "/run/sshd")
        file = host.home / "sshd.conf"
        file.write_text(f"ListenAddress {host.far}\nHostKey {identity}\nPermitRootLogin prohibit-password\n"
                        "PasswordAuthentication no\nUsePAM no\nStrictModes no\nPidFile none\n"
                        "Subsystem sftp internal-sftp\n")
        daemon = Daemon(f"sshd of {host.name}", host, ["/usr/sbin/sshd", "-D", "-e", "-f", str(file)],
                        logs / f"{host.name}.sshd.log")
        self._stack.callback(daemon.close, 0)

    def close(self) -> None:
        """Twice is fine."""
        self._stack.close()
