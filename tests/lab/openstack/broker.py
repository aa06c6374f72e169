# SPDX-License-Identifier: LGPL-2.1-or-later
"""RabbitMQ, by which the parts of Nova talk to each other."""

from __future__ import annotations

import socket
from pathlib import Path

from lab.deadline import wait_until
from lab.host import Host
from lab.openstack.network import inside
from lab.openstack.process import Daemon
from lab.processes import tail

SERVER = "/usr/lib/rabbitmq/bin/rabbitmq-server"  # the one in PATH changes to a user that does not own these files
PORT = 5672
# Erlang's threads look for work for a while before they sleep; here that would take the CPUs from all others.
ERLANG = "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none"


class Broker:
    """Starts in the constructor; wait_ready() before anybody connects. Erlang's name service is a process of its own,
    because the one that RabbitMQ starts outlives it."""

    def __init__(self, host: Host, network: Path, logs: Path) -> None:
        self._network, self._address = network, host.far
        self._log = logs / "rabbitmq.log"
        home = host.home / "rabbitmq"
        home.mkdir()
        (home / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = {host.far}:{PORT}\nloopback_users = none\nlog.console = true\nlog.file = false\n"
            "vm_memory_high_watermark.absolute = 1GB\ndisk_free_limit.absolute = 50MB\n")
        (home / "enabled_plugins").write_text("[].\n")
        self._names = Daemon("epmd", host, ["epmd", "-relaxed_command_check"], self._log, {"HOME": str(home)})
        self._daemon = Daemon("rabbitmq", host, [SERVER], self._log, {
            "HOME": str(home), "RABBITMQ_NODENAME": f"rabbit@{host.name}", "RABBITMQ_CONFIG_FILE": f"{home}/rabbitmq.conf",
            "RABBITMQ_MNESIA_BASE": f"{home}/mnesia", "RABBITMQ_LOG_BASE": f"{home}/log", "RABBITMQ_LOGS": "-",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{home}/enabled_plugins", "RABBITMQ_PID_FILE": f"{home}/pid",
            "RABBITMQ_CONF_ENV_FILE": f"{home}/none", "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": ERLANG})

    def wait_ready(self) -> None:
        def listens() -> bool:
            self._daemon.alive_or_raise()
            try:
                with inside(self._network):
                    socket.create_connection((self._address, PORT), timeout=5).close()
                return True
            except OSError:
                return False

        wait_until(listens, 90, f"RabbitMQ listens\n{tail(self._log)}", poll=0.1)

    def close(self) -> None:
        self._daemon.close()
        self._names.close(grace=0)


def url(host: str) -> str:
    return f"rabbit://guest:guest@{host}:{PORT}/"
