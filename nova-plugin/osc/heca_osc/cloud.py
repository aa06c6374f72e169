# SPDX-License-Identifier: Apache-2.0
"""What the commands ask of Nova, placement and keystone: plain HTTP over the client's own sessions.

Not the SDK's resources: those differ between the releases that this plugin works with (Zed to the newest), while the
interfaces below, each at the microversion named here, do not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from keystoneauth1 import exceptions as session_errors
from osc_lib import exceptions

# Nova's: what each is taken for.
PLAIN = "2.1"  # free-form diagnostics: later ones drop what the driver adds
SERVER = "2.47"  # a server carries its flavor, extra specs and all, as it was when the server was made
MIGRATIONS = "2.59"  # uuids and pages of migrations
FLAVOR = "2.55"  # descriptions
CHECKED_SPECS = "2.86"  # extra specs are validated, heca's by heca_nova's validators
PLACEMENT = "1.18"  # providers by trait

Json = dict[str, Any]
_UUID = re.compile(r"[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}", re.IGNORECASE)


class Refused(exceptions.CommandError):
    """A service answered, and it was not yes."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


def is_uuid(text: str) -> bool:
    return _UUID.fullmatch(text) is not None


def _words(response: Any) -> str:
    """What the service says: {"badRequest": {"message": ...}} (Nova), {"errors": [{"detail": ...}]} (placement)."""
    try:
        body = response.json()
    except ValueError:
        return str(response.text).strip()[:300] or str(response.reason)
    if isinstance(body, dict):
        errors = body.get("errors")
        if isinstance(errors, list) and errors and isinstance(errors[0], dict):
            return " ".join(str(errors[0].get("detail") or errors[0].get("title") or "").split())
        for value in body.values():
            if isinstance(value, dict) and value.get("message"):
                return " ".join(str(value["message"]).split())
    return str(response.reason)


class Cloud:
    """One operator's view of a cloud. Not thread-safe.

    Every method raises osc_lib's CommandError with a remedy when a service cannot be reached, and Refused when it
    answers with an error.
    """

    def __init__(self, adapter: Callable[[str], Any]) -> None:
        """`adapter` gives keystoneauth's adapter of a service: "compute", "placement" or "identity"."""
        self._adapter = adapter

    # Servers

    def server(self, name_or_id: str) -> Json:
        """A server of one's own project by name, or any that one may see by id."""
        try:
            return self.server_by_id(name_or_id)
        except Refused as error:
            if error.status != 404:
                raise
        found = self._get("compute", "/servers", SERVER, {"name": f"^{re.escape(name_or_id)}$"})["servers"]
        matches = [server["id"] for server in found if server["name"] == name_or_id]
        if len(matches) > 1:
            raise exceptions.CommandError(
                f"{len(matches)} servers are called '{name_or_id}': give one's ID: {', '.join(matches)}"
            )
        if not matches:
            raise exceptions.CommandError(
                f"no server '{name_or_id}' in this project; one of another project is found by its ID only "
                "(openstack server list --all-projects)"
            )
        return self.server_by_id(matches[0])

    def server_by_id(self, server_id: str) -> Json:
        """With its flavor as it was when the server was made. Refused: 404 if there is none that one may see."""
        server: Json = self._get("compute", f"/servers/{quote(server_id, safe='')}", SERVER)["server"]
        return server

    def diagnostics(self, server_id: str) -> Json:
        """What the driver of a running server tells of it. Refused: 403 to all but admins, 409 unless its vCPUs run."""
        return self._get("compute", f"/servers/{server_id}/diagnostics", PLAIN)

    def set_metadata(self, server_id: str, metadata: Mapping[str, str]) -> None:
        """Adds to a server's metadata, which its host looks at from time to time."""
        self._post("compute", f"/servers/{server_id}/metadata", PLAIN, {"metadata": dict(metadata)})

    # Migrations

    def migrations(self, filters: Mapping[str, str | int]) -> list[Json]:
        """Live migrations, the latest first; at most as many as Nova gives on one page."""
        query = {"migration_type": "live-migration", **filters}
        return list(self._get("compute", "/os-migrations", MIGRATIONS, query)["migrations"])

    def migrations_under_way(self, server_id: str) -> list[Json]:
        """Those of one server, with the bytes they have moved; not those in Nova's status "running (post-copy)"."""
        path = f"/servers/{server_id}/migrations"
        return list(self._get("compute", path, MIGRATIONS)["migrations"])

    # Flavors

    def create_flavor(self, flavor: Mapping[str, Any]) -> Json:
        created: Json = self._post("compute", "/flavors", FLAVOR, {"flavor": dict(flavor)})["flavor"]
        return created

    def set_extra_specs(self, flavor_id: str, specs: Mapping[str, str]) -> None:
        """Refused with 400 and the reason if a validator does not like one."""
        body = {"extra_specs": dict(specs)}
        self._post("compute", f"/flavors/{quote(flavor_id, safe='')}/os-extra_specs", CHECKED_SPECS, body)

    def give_flavor_to(self, flavor_id: str, project_id: str) -> None:
        body = {"addTenantAccess": {"tenant": project_id}}
        self._post("compute", f"/flavors/{quote(flavor_id, safe='')}/action", FLAVOR, body)

    def delete_flavor(self, flavor_id: str) -> None:
        self._ask("compute", "DELETE", f"/flavors/{quote(flavor_id, safe='')}", FLAVOR)

    def project_id(self, name_or_id: str) -> str:
        """Of a project by id or by name, where the name is that of one project only."""
        try:
            found = [self._get("identity", f"/projects/{quote(name_or_id, safe='')}", None)["project"]]
        except Refused as error:
            if error.status != 404:
                raise
            found = self._get("identity", "/projects", None, {"name": name_or_id})["projects"]
        if len(found) != 1:
            raise exceptions.CommandError(
                f"{len(found) or 'no'} projects are called '{name_or_id}': give the ID of one (openstack project list)"
            )
        return str(found[0]["id"])

    # Hosts

    def providers(self) -> list[Json]:
        """Resource providers with heca's trait: the hosts that it runs on."""
        return list(
            self._get("placement", "/resource_providers", PLACEMENT, {"required": "CUSTOM_HECA"})["resource_providers"]
        )

    def provider(self, name_or_id: str) -> Json | None:
        """A resource provider, whatever its traits; None: there is none of that name."""
        key = "uuid" if is_uuid(name_or_id) else "name"
        found = self._get("placement", "/resource_providers", PLACEMENT, {key: name_or_id})["resource_providers"]
        return found[0] if found else None

    def traits(self, provider_id: str) -> list[str]:
        return list(self._get("placement", f"/resource_providers/{provider_id}/traits", PLACEMENT)["traits"])

    def inventories(self, provider_id: str) -> dict[str, Json]:
        path = f"/resource_providers/{provider_id}/inventories"
        return dict(self._get("placement", path, PLACEMENT)["inventories"])

    def usages(self, provider_id: str) -> dict[str, int]:
        return dict(self._get("placement", f"/resource_providers/{provider_id}/usages", PLACEMENT)["usages"])

    def allocations(self, provider_id: str) -> dict[str, dict[str, int]]:
        """What each consumer (a server, or a migration that holds its source's share) has there."""
        path = f"/resource_providers/{provider_id}/allocations"
        found = self._get("placement", path, PLACEMENT)["allocations"]
        return {consumer: allocation["resources"] for consumer, allocation in found.items()}

    # The wire

    def _get(self, service: str, path: str, version: str | None, query: Mapping[str, Any] | None = None) -> Json:
        body: Json = self._ask(service, "GET", path, version, params=dict(query or {})).json()
        return body

    def _post(self, service: str, path: str, version: str, body: Json) -> Json:
        response = self._ask(service, "POST", path, version, json=body)
        answer: Json = response.json() if response.content else {}
        return answer

    def _ask(self, service: str, method: str, path: str, version: str | None, **request: Any) -> Any:
        adapter = self._adapter(service)
        try:
            response = adapter.request(path, method, microversion=version, raise_exc=False, **request)
        except session_errors.EndpointNotFound:
            raise exceptions.CommandError(
                f"no {service} service in this cloud's catalog: openstack endpoint list --service {service}"
            ) from None
        except session_errors.ConnectFailure as error:
            raise exceptions.CommandError(f"the {service} service does not answer: {error}") from None
        if response.status_code < 400:
            return response
        raise Refused(self._explained(service, path, version, response), response.status_code)

    @staticmethod
    def _explained(service: str, path: str, version: str | None, response: Any) -> str:
        words = _words(response)
        if response.status_code == 403:
            return f"{service}: {words} (needs an admin, or whom the cloud's policy allows {path})"
        if response.status_code == 406:
            return f"{service} is too old for this command: it does not know microversion {version}: {words}"
        return f"{service}: {words} (HTTP {response.status_code})"


def cloud_of(app: Any) -> Cloud:
    """What the plugin has made for the client's application, a command's `self.app`."""
    cloud: Cloud = app.client_manager.heca
    return cloud
