# SPDX-License-Identifier: LGPL-2.1-or-later
"""The control plane on one host: database, broker, keystone, placement, glance, nova-api, conductor, scheduler.

Everything that can be is started without waiting for what was started before it: on two CPUs the programs' own start is what
takes the time. Order and reasons: _make_databases, _start_services.
"""

from __future__ import annotations

import base64
import os
import shutil
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from lab.deadline import LabError, wait_until
from lab.host import Host
from lab.namespace import Namespace
from lab.openstack import config
from lab.openstack.api import Api, Endpoint
from lab.openstack.broker import Broker
from lab.openstack.broker import url as broker_url
from lab.openstack.config import PASSWORD, PORTS
from lab.openstack.database import Database
from lab.openstack.database import url as database_url
from lab.openstack.process import Daemon, Job
from lab.openstack.web import serve
from lab.processes import tail

ENDPOINTS = {"identity": Endpoint(PORTS["identity"], "/v3"), "placement": Endpoint(PORTS["placement"]),
             "image": Endpoint(PORTS["image"]), "compute": Endpoint(PORTS["compute"]),
             "network": Endpoint(PORTS["network"])}
# What the catalogue says of them; keystone's own bootstrap writes its entry.
CATALOGUE = {"placement": "", "image": "", "compute": "/v2.1", "network": ""}
JOB_SECONDS = 400


def make_keys(repository: Path) -> None:
    """As `keystone-manage fernet_setup`: a staged key and the primary one."""
    repository.mkdir(mode=0o700)
    for number in ("0", "1"):
        (repository / number).write_bytes(base64.urlsafe_b64encode(os.urandom(32)))


class ControlPlane:
    """`place` is its host's place in the network, whose other hosts are `neighbours`; `environment`: more of it, for Nova. The
    constructor starts what needs nothing; start() the rest. `api` is the administrator. close() takes all of it down."""

    def __init__(self, place: Namespace, neighbours: Mapping[str, str], logs: Path,
                 environment: Mapping[str, str]) -> None:
        self._logs, self._environment = logs, environment
        self._stack = ExitStack()
        self.daemons: dict[str, Daemon] = {}
        self.network = Path("/run/netns") / place.namespace
        try:
            self.host = Host(config.CONTROL, place, neighbours)
            self._stack.callback(self.host.close)
            self._conf = self.host.home / "conf"
            self._configure()
            self._database = Database(self.host, logs)
            self._stack.callback(self._database.close)
            self._broker = Broker(self.host, self.network, logs)
            self._stack.callback(self._broker.close)
        except BaseException:
            self.close()
            raise
        self.api = Api(self.network, place.far, "admin", PASSWORD, "admin", ENDPOINTS)

    def _configure(self) -> None:
        home = self.host.home
        for directory in ("nova/lock", "placement", "images/lab", "images/os_glance_staging_store",
                          "images/os_glance_tasks_store"):
            (home / directory).mkdir(parents=True)
        for repository in ("fernet", "credential"):
            make_keys(home / repository)
        config.write(self._conf / "keystone/keystone.conf", config.keystone(home))
        config.write(self._conf / "placement/placement.conf", config.placement(home))
        config.write(self._conf / "glance/glance-api.conf", config.glance(home))
        for cell in ("nova", "nova_cell0"):
            config.write(self._conf / cell / "nova.conf", config.nova_control(home, cell))
        shutil.copy("/usr/share/nova-common/api-paste.ini", self._conf / "nova")
        shutil.copy("/usr/share/glance-common/glance-api-paste.ini", self._conf / "glance")

    def start(self) -> None:
        """Until the services answer; computes may come then."""
        self._database.start()
        self._database.wait_ready()
        self._make_databases()

    # -- databases

    def _job(self, name: str, *command: str) -> Job:
        return Job(name, self.host, command, self._logs / f"{name.replace(' ', '-')}.log")

    def _nova_manage(self, *words: str, cell: str = "nova") -> Job:
        return self._job(f"nova-manage {' '.join(words[:2])} {cell}", "nova-manage", "--config-file",
                         f"{self._conf}/{cell}/nova.conf", *words)

    def _make_databases(self) -> None:
        """All at once; then what needs only one of them, while others still go on."""
        keystone = ("keystone-manage", "--config-file", f"{self._conf}/keystone/keystone.conf")
        identity = self._job("keystone-manage db_sync", *keystone, "db_sync")
        interface = self._nova_manage("api_db", "sync")
        cells = [self._nova_manage("db", "sync", "--local_cell", cell=cell) for cell in ("nova", "nova_cell0")]
        placement = self._job("placement-manage db sync", "placement-manage", "--config-file",
                              f"{self._conf}/placement/placement.conf", "db", "sync")
        image = self._job("glance-manage db_sync", "glance-manage", "--config-file",
                          f"{self._conf}/glance/glance-api.conf", "db_sync")
        identity.wait(JOB_SECONDS)
        bootstrap = self._job("keystone-manage bootstrap", *keystone, "bootstrap", "--bootstrap-password", PASSWORD,
                              "--bootstrap-region-id", config.REGION, *(
                                  word for kind in ("admin", "internal", "public")
                                  for word in (f"--bootstrap-{kind}-url", f"{config.url('identity')}/v3")))
        self._serve("keystone", "keystone-wsgi-public", "identity", OS_KEYSTONE_CONFIG_DIR=f"{self._conf}/keystone")
        interface.wait(JOB_SECONDS)
        mapping = [self._nova_manage("cell_v2", "map_cell0", "--database_connection", database_url("nova_cell0")),
                   self._nova_manage("cell_v2", "create_cell", "--name", "cell1", "--database_connection",
                                     database_url("nova"), "--transport-url", broker_url(config.CONTROL))]
        placement.wait(JOB_SECONDS)
        self._serve("placement", "placement-api", "placement", OS_PLACEMENT_CONFIG_DIR=f"{self._conf}/placement")
        image.wait(JOB_SECONDS)
        self._serve("glance", "glance-wsgi-api", "image", OS_GLANCE_CONFIG_DIR=f"{self._conf}/glance")
        for job in [*cells, *mapping]:
            job.wait(JOB_SECONDS)
        self.check()
        self._broker.wait_ready()
        self._run_nova()
        bootstrap.wait(JOB_SECONDS)
        self._fill_identity()

    # -- services

    def _keep(self, daemon: Daemon) -> None:
        self.daemons[daemon.name] = daemon
        self._stack.callback(daemon.close)

    def _serve(self, name: str, program: str, service: str, processes: int = 1, **environment: str) -> None:
        self._keep(serve(name, self.host, program, PORTS[service], self._logs / f"{name}.log",
                         {**self._environment, **environment}, processes))

    def _run_nova(self) -> None:
        self._serve("nova-api", "nova-api-wsgi", "compute", processes=2, OS_NOVA_CONFIG_DIR=f"{self._conf}/nova")
        for name in ("nova-conductor", "nova-scheduler"):
            self._keep(Daemon(name, self.host, [name, "--config-file", f"{self._conf}/nova/nova.conf"],
                              self._logs / f"{name}.log", self._environment))
        stub = Path(__file__).with_name("network_stub.py")
        self._keep(Daemon("network", self.host, [sys.executable, str(stub), self.host.far, str(PORTS["network"])],
                          self._logs / "network.log"))

    def _fill_identity(self) -> None:
        """The services' project, user and addresses."""
        self.wait_answers("identity")
        call = self.api.call
        project = call("identity", "POST", "/projects", {"project": {"name": "service"}})["project"]["id"]
        user = call("identity", "POST", "/users", {"user": {"name": "service", "password": PASSWORD}})["user"]["id"]
        roles = {role["name"]: role["id"] for role in self.api.get("identity", "/roles")["roles"]}
        if "service" not in roles:
            roles["service"] = call("identity", "POST", "/roles", {"role": {"name": "service"}})["role"]["id"]
        for role in ("admin", "service"):
            call("identity", "PUT", f"/projects/{project}/users/{user}/roles/{roles[role]}")
        for service, path in CATALOGUE.items():
            made = call("identity", "POST", "/services", {"service": {"type": service, "name": service}})["service"]["id"]
            for interface in ("public", "internal", "admin"):
                call("identity", "POST", "/endpoints", {"endpoint": {
                    "service_id": made, "interface": interface, "region_id": config.REGION,
                    "url": config.url(service) + path}})

    def check(self) -> None:
        for daemon in self.daemons.values():
            daemon.alive_or_raise()

    def wait_answers(self, service: str, seconds: float = 300) -> None:
        def answers() -> bool:
            self.check()
            return self.api.answers(service)

        try:
            wait_until(answers, seconds, f"{service} answers", poll=0.1)
        except LabError as error:
            raise LabError(f"{error}; logs in {self._logs}:\n" + "\n".join(
                f"{name}:\n{tail(daemon.log, 5)}" for name, daemon in self.daemons.items())) from None

    def close(self) -> None:
        """Twice is fine."""
        self._stack.close()
