# SPDX-License-Identifier: Apache-2.0
"""A cloud as its HTTP interfaces show it: keystone, Nova and placement, as much of each as the plugin asks.

It answers as the services do at the microversion of each request, so that a command that asks at a wrong one gets the
wrong thing. One answer function; behind it either a `requests` adapter (in process) or a server on loopback, for the
real `openstack`.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Json = dict[str, Any]
Version = tuple[int, int]
TIME = "2026-11-26T14:00:00.000000"
# Of these Nova tells figures (nova/db/main/api.py, migration_get_in_progress_by_instance).
IN_PROGRESS = ("queued", "preparing", "running", "post-migrating")
PROJECT = "0123456789abcdef0123456789abcdef"


@dataclass
class Answer:
    status: int
    body: Json | None = None


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    version: Version
    body: Json
    root: str


class AnswerError(Exception):
    """An error answer."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


def _version(headers: dict[str, str], service: str) -> Version:
    asked = next((v for k, v in headers.items() if k.lower() == "openstack-api-version"), "")
    found = re.fullmatch(rf"{service} (\d+)\.(\d+)", asked)
    if found:
        return int(found[1]), int(found[2])
    return (2, 1) if service == "compute" else (1, 0)


@dataclass
class FakeCloud:
    admin: bool = True
    compute_max: Version = (2, 93)  # Zed's
    flavors: dict[str, Json] = field(default_factory=dict)
    specs: dict[str, dict[str, str]] = field(default_factory=dict)
    access: dict[str, list[str]] = field(default_factory=dict)
    servers: dict[str, Json] = field(default_factory=dict)
    diagnostics: dict[str, Json] = field(default_factory=dict)
    migrations: list[Json] = field(default_factory=list)
    progress: dict[int, Json] = field(default_factory=dict)
    providers: dict[str, Json] = field(default_factory=dict)  # by name
    projects: dict[str, str] = field(default_factory=lambda: {"demo": PROJECT})  # name: id
    undeletable: bool = False
    log: list[str] = field(default_factory=list)

    # Making it up

    def add_server(self, name: str, specs: dict[str, str], ram: int = 2048, **more: Any) -> str:
        server_id = str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{name}{len(self.servers)}"))
        flavor = {"original_name": "f", "ram": ram, "vcpus": 1, "disk": 1, "ephemeral": 0, "swap": 0}
        self.servers[server_id] = {
            "id": server_id, "name": name, "status": "ACTIVE", "metadata": {}, "OS-EXT-SRV-ATTR:host": "c1",
            "flavor": {**flavor, "extra_specs": specs}, **more,
        }  # fmt: skip
        return server_id

    def add_host(self, name: str, local: Json, remote: Json | None, used: dict[str, int], traits: list[str]) -> str:
        provider_id = str(uuid.uuid5(uuid.NAMESPACE_DNS, name))
        inventories = {"MEMORY_MB": local, "VCPU": {"total": 8, "reserved": 0, "allocation_ratio": 4.0}}
        if remote is not None:
            inventories["CUSTOM_HECA_REMOTE_MB"] = remote
        self.providers[name] = {
            "uuid": provider_id, "name": name, "inventories": inventories, "usages": used, "traits": traits,
            "allocations": {},
        }  # fmt: skip
        return provider_id

    def add_migration(self, server_id: str, status: str, progress: Json | None = None, **more: Any) -> int:
        number = len(self.migrations) + 1
        self.migrations.insert(0, {
            "id": number, "uuid": str(uuid.uuid5(uuid.NAMESPACE_DNS, str(number))), "instance_uuid": server_id,
            "status": status, "migration_type": "live-migration", "source_compute": "c1", "dest_compute": "c2",
            "created_at": TIME, "updated_at": TIME, **more,
        })  # fmt: skip
        if progress is not None:
            self.progress[number] = progress
        return number

    # Answering

    def answer(self, method: str, url: str, headers: dict[str, str], body: Json) -> Answer:
        parts = urlsplit(url)
        service, _, rest = parts.path.lstrip("/").partition("/")
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        root = f"{parts.scheme}://{parts.netloc}"
        request = Request(method, unquote("/" + rest), query, _version(headers, service), body, root)
        self.log.append(f"{method} /{service}{request.path}")
        try:
            handler = {"identity": self._identity, "compute": self._compute, "placement": self._placement}[service]
            return handler(request)
        except AnswerError as no:
            if service == "placement":
                return Answer(no.status, {"errors": [{"status": no.status, "title": "No", "detail": str(no)}]})
            return Answer(no.status, {"problem": {"code": no.status, "message": str(no)}})

    def _identity(self, asked: Request) -> Answer:
        if asked.path in ("/", "/v3", "/v3/"):
            link = {"rel": "self", "href": f"{asked.root}/identity/v3/"}
            version = {"id": "v3.14", "status": "stable", "links": [link], "media-types": []}
            return Answer(200, {"version": version} if "v3" in asked.path else {"versions": {"values": [version]}})
        if asked.path == "/v3/auth/tokens":
            return Answer(201, {"token": self._token(asked.root)})
        if asked.path == "/v3/projects":
            found = [key for name, key in self.projects.items() if name == asked.query["name"]]
            return Answer(200, {"projects": [{"id": key} for key in found]})
        project = asked.path.removeprefix("/v3/projects/")
        if project not in self.projects.values():
            raise AnswerError(404, f"Could not find project: {project}.")
        return Answer(200, {"project": {"id": project}})

    def _token(self, root: str) -> Json:
        services = {"identity": f"{root}/identity", "compute": f"{root}/compute/v2.1", "placement": f"{root}/placement"}
        catalog = [
            {"type": kind, "name": kind, "id": kind, "endpoints": [
                {"id": kind, "interface": "public", "region": "one", "region_id": "one", "url": url}]}
            for kind, url in services.items()
        ]  # fmt: skip
        domain = {"id": "default", "name": "Default"}
        return {
            "methods": ["password"], "expires_at": "2099-01-01T00:00:00.000000Z", "issued_at": "2026-01-01T00:00:00.0Z",
            "user": {"id": "u", "name": "u", "domain": domain}, "roles": [{"id": "r", "name": "admin"}],
            "project": {"id": PROJECT, "name": "demo", "domain": domain}, "catalog": catalog,
        }  # fmt: skip

    def _compute(self, asked: Request) -> Answer:
        if asked.path in ("/", "/v2.1", "/v2.1/"):
            newest = ".".join(str(part) for part in self.compute_max)
            link = {"rel": "self", "href": f"{asked.root}/compute/v2.1/"}
            version = {"id": "v2.1", "status": "CURRENT", "version": newest, "min_version": "2.1", "links": [link]}
            return Answer(200, {"version": version} if "v2.1" in asked.path else {"versions": [version]})
        if asked.version > self.compute_max:
            raise AnswerError(406, f"Version {asked.version} is not supported by the API.")
        path = asked.path.removeprefix("/v2.1")
        for pattern, handler in (
            (r"/flavors", self._create_flavor), (r"/flavors/([^/]+)", self._delete_flavor),
            (r"/flavors/([^/]+)/os-extra_specs", self._extra_specs), (r"/flavors/([^/]+)/action", self._flavor_access),
            (r"/servers", self._list_servers), (r"/servers/([^/]+)", self._show_server),
            (r"/servers/([^/]+)/diagnostics", self._diagnostics), (r"/servers/([^/]+)/metadata", self._metadata),
            (r"/servers/([^/]+)/migrations", self._server_migrations), (r"/os-migrations", self._migrations),
        ):  # fmt: skip
            found = re.fullmatch(pattern, path)
            if found:
                return handler(asked, *found.groups())
        raise AnswerError(404, f"there is no {asked.method} {path}")

    def _only_admin(self, what: str) -> None:
        if not self.admin:
            raise AnswerError(403, f"Policy doesn't allow {what} to be performed.")

    def _create_flavor(self, asked: Request) -> Answer:
        self._only_admin("os_compute_api:os-flavor-manage:create")
        flavor = dict(asked.body["flavor"])
        if any(known["name"] == flavor["name"] for known in self.flavors.values()):
            raise AnswerError(409, f"Flavor with name {flavor['name']} already exists.")
        if "description" in flavor and asked.version < (2, 55):
            raise AnswerError(400, "Additional properties are not allowed ('description' was unexpected)")
        if flavor.get("id") is None:
            flavor["id"] = str(uuid.uuid4())
        if flavor["id"] in self.flavors:
            raise AnswerError(409, f"Flavor with ID {flavor['id']} already exists.")
        self.flavors[flavor["id"]] = flavor
        return Answer(200, {"flavor": flavor})

    def _delete_flavor(self, asked: Request, flavor_id: str) -> Answer:
        if asked.method != "DELETE" or flavor_id not in self.flavors:
            raise AnswerError(404, f"Flavor {flavor_id} could not be found.")
        if self.undeletable:
            raise AnswerError(500, "Unexpected API Error.")
        del self.flavors[flavor_id]
        return Answer(202)

    def _extra_specs(self, asked: Request, flavor_id: str) -> Answer:
        specs = asked.body["extra_specs"]
        if asked.version >= (2, 86) and specs.get("hw:cpu_policy") == "sometimes":
            raise AnswerError(400, "Validation failed; value 'sometimes' is not one of dedicated, shared, mixed.")
        self.specs[flavor_id] = specs
        return Answer(200, {"extra_specs": specs})

    def _flavor_access(self, asked: Request, flavor_id: str) -> Answer:
        self.access.setdefault(flavor_id, []).append(asked.body["addTenantAccess"]["tenant"])
        return Answer(200, {"flavor_access": []})

    def _server(self, server_id: str) -> Json:
        if server_id not in self.servers:
            raise AnswerError(404, f"Instance {server_id} could not be found.")
        return self.servers[server_id]

    def _list_servers(self, asked: Request) -> Answer:
        wanted = re.compile(asked.query["name"])
        found = [server for server in self.servers.values() if wanted.search(server["name"])]
        return Answer(200, {"servers": [{"id": server["id"], "name": server["name"]} for server in found]})

    def _show_server(self, asked: Request, server_id: str) -> Answer:
        server = dict(self._server(server_id))
        if asked.version < (2, 47):
            server["flavor"] = {"id": "f"}
        if not self.admin:
            server.pop("OS-EXT-SRV-ATTR:host")
        return Answer(200, {"server": server})

    def _diagnostics(self, asked: Request, server_id: str) -> Answer:
        self._only_admin("os_compute_api:os-server-diagnostics")
        server = self._server(server_id)
        power = server.get("power", "running")
        if power != "running":
            raise AnswerError(409, f"Cannot 'get_diagnostics' instance {server_id} while it is in power state {power}")
        if asked.version >= (2, 48):
            return Answer(200, {"state": "running", "driver": "libvirt", "memory_details": {"maximum": 2048}})
        return Answer(200, {"memory": 2097152, "cpu0_time": 1, **self.diagnostics.get(server_id, {})})

    def _metadata(self, asked: Request, server_id: str) -> Answer:
        self._server(server_id)["metadata"].update(asked.body["metadata"])
        return Answer(200, {"metadata": self._server(server_id)["metadata"]})

    def _server_migrations(self, asked: Request, server_id: str) -> Answer:
        self._only_admin("os_compute_api:servers:migrations:index")
        self._server(server_id)
        if asked.version < (2, 23):
            raise AnswerError(404, "The resource could not be found.")
        live = [
            each for each in self.migrations
            if each["instance_uuid"] == server_id and each["id"] in self.progress and each["status"] in IN_PROGRESS
        ]  # fmt: skip
        return Answer(200, {"migrations": [{**each, **self.progress[each["id"]]} for each in live]})

    def _migrations(self, asked: Request) -> Answer:
        self._only_admin("os_compute_api:os-migrations:index")
        if asked.version < (2, 59) and "limit" in asked.query:
            raise AnswerError(400, "limit is not known")
        query = dict(asked.query)
        limit, host = int(query.pop("limit", 1000)), query.pop("host", None)
        found = [each for each in self.migrations if all(each[key] == value for key, value in query.items())]
        if host:
            found = [each for each in found if host in (each["source_compute"], each["dest_compute"])]
        return Answer(200, {"migrations": found[:limit]})

    def _placement(self, asked: Request) -> Answer:
        if asked.path == "/":
            link = {"rel": "self", "href": ""}
            version = {"id": "v1.0", "max_version": "1.39", "min_version": "1.0", "status": "CURRENT", "links": [link]}
            return Answer(200, {"versions": [version]})
        if not self.admin:
            raise AnswerError(403, "Policy does not allow placement:resource_providers:list to be performed.")
        if asked.path == "/resource_providers":
            return Answer(200, {"resource_providers": self._matching(asked)})
        found = re.fullmatch(r"/resource_providers/([^/]+)/(inventories|usages|traits|allocations)", asked.path)
        provider = next((each for each in self.providers.values() if found and each["uuid"] == found[1]), None)
        if not found or provider is None:
            raise AnswerError(404, "No such resource provider")
        return Answer(200, {found[2]: provider[found[2]], "resource_provider_generation": 1})

    def _matching(self, asked: Request) -> list[Json]:
        query = asked.query
        if "required" in query and asked.version < (1, 18):
            raise AnswerError(400, "'required' does not match any of the regexes")
        return [
            {"uuid": each["uuid"], "name": each["name"], "generation": 1}
            for each in self.providers.values()
            if query.get("required") in (None, *each["traits"]) and query.get("name") in (None, each["name"])
            and query.get("uuid") in (None, each["uuid"])
        ]  # fmt: skip
