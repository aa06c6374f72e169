# SPDX-License-Identifier: LGPL-2.1-or-later
"""The services' configuration files. Of the machine only what Debian ships below /usr is used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lab.openstack import broker, database

CONTROL = "control"  # the host of the control plane, by this name on every host
REGION = "RegionOne"
PASSWORD = "lab"     # of everybody
PORTS = {"identity": 5000, "placement": 8778, "image": 9292, "compute": 8774, "network": 9696}

Sections = Mapping[str, Mapping[str, object]]


def url(service: str) -> str:
    return f"http://{CONTROL}:{PORTS[service]}"


def write(file: Path, sections: Sections) -> Path:
    """`file`, for which a directory is made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    for name, options in sections.items():
        lines += [f"[{name}]", *(f"{key} = {value}" for key, value in options.items()), ""]
    file.write_text("\n".join(lines))
    return file


def _as_service(**more: object) -> dict[str, object]:
    """How a service logs in to another one."""
    return {"auth_type": "password", "auth_url": f"{url('identity')}/v3", "username": "service", "password": PASSWORD,
            "project_name": "service", "user_domain_name": "Default", "project_domain_name": "Default",
            "region_name": REGION, **more}


def _checks_tokens() -> dict[str, object]:
    return _as_service(www_authenticate_uri=url("identity"), service_token_roles_required="true")


def keystone(home: Path) -> Sections:
    return {"DEFAULT": {},
            "database": {"connection": database.url("keystone")},
            "token": {"provider": "fernet"},
            "fernet_tokens": {"key_repository": home / "fernet"},
            "fernet_receipts": {"key_repository": home / "fernet"},
            "credential": {"key_repository": home / "credential"},
            # Without it a token takes two seconds to check.
            "cache": {"enabled": "true", "backend": "dogpile.cache.memory"},
            "identity": {"password_hash_rounds": 4}}


def placement(home: Path) -> Sections:
    return {"DEFAULT": {"state_path": home / "placement"},
            "placement_database": {"connection": database.url("placement")},
            "api": {"auth_strategy": "keystone"},
            "keystone_authtoken": _checks_tokens()}


def glance(home: Path) -> Sections:
    stores = {name: {"filesystem_store_datadir": home / "images" / name}
              for name in ("lab", "os_glance_staging_store", "os_glance_tasks_store")}
    return {"DEFAULT": {"enabled_backends": "lab:file", "workers": 1, "bind_host": CONTROL},
            "database": {"connection": database.url("glance")},
            "glance_store": {"default_backend": "lab"},
            **stores,
            "keystone_authtoken": _checks_tokens(),
            "paste_deploy": {"flavor": "keystone"}}


def _nova(state: Path) -> dict[str, dict[str, object]]:
    return {"DEFAULT": {"transport_url": broker.url(CONTROL), "state_path": state, "use_stderr": "true",
                        "enabled_apis": "osapi_compute", "rpc_response_timeout": 60},
            "oslo_concurrency": {"lock_path": state / "lock"},
            "oslo_messaging_rabbit": {"heartbeat_in_pthread": "false"},
            "keystone_authtoken": _checks_tokens(),
            "service_user": _as_service(send_service_user_token="true"),
            "placement": _as_service(),
            "neutron": _as_service(),
            "glance": {"region_name": REGION},
            "vnc": {"enabled": "false"}}


def nova_control(home: Path, cell: str = "nova") -> Sections:
    """Of the API, the conductor and the scheduler; `cell` is the database of the cell that is meant."""
    sections = _nova(home / "nova")
    sections["DEFAULT"].update({"my_ip": "127.0.0.1"})
    sections.update({"api_database": {"connection": database.url("nova_api")},
                     "database": {"connection": database.url(cell)},
                     "conductor": {"workers": 1},
                     "scheduler": {"workers": 1, "discover_hosts_in_cells_interval": 2}})
    return sections


def nova_compute(file: Path, state: Path, address: str, driver: str, more: Mapping[str, object]) -> Sections:
    """Of a compute host at that address; `file` is where it will be; `more` of group [DEFAULT]. The lab runs nova-compute as
    root: there is no sudo."""
    sections = _nova(state)
    sections["DEFAULT"].update({"compute_driver": driver, "my_ip": address, "vif_plugging_is_fatal": "false",
                                "vif_plugging_timeout": 0, "reserved_host_memory_mb": 512,
                                "update_resources_interval": 10, **more})
    sections["libvirt"] = {"virt_type": "qemu", "cpu_mode": "none", "live_migration_scheme": "tcp",
                           "live_migration_inbound_addr": address}
    helper = {"helper_command": f"privsep-helper --config-file {file}"}
    for context in ("nova_sys_admin", "privsep_osbrick", "vif_plug_linux_bridge_privileged",
                    "vif_plug_ovs_privileged"):
        sections[context] = dict(helper)
    return sections
