# SPDX-License-Identifier: Apache-2.0
"""What goes wrong below the commands, and what is said then."""

from __future__ import annotations

from typing import Any

import pytest
from keystoneauth1 import adapter, noauth, session
from keystoneauth1 import exceptions as session_errors
from osc_lib import exceptions

from heca_osc.cloud import Cloud, Refused, is_uuid


class Answers:
    """An adapter that gives one answer, or raises one error."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def request(self, *_: Any, **__: Any) -> Any:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


class Response:
    def __init__(self, status: int, text: str, body: Any = None) -> None:
        self.status_code, self.text, self.reason, self.content = status, text, "Bad Gateway", text.encode()
        self._body = body

    def json(self) -> Any:
        if self._body is None:
            raise ValueError("no JSON")
        return self._body


def test_a_cloud_without_placement_is_told_what_is_missing() -> None:
    cloud = Cloud(lambda _: Answers(session_errors.EndpointNotFound("none")))
    with pytest.raises(exceptions.CommandError, match="no placement service.*openstack endpoint list"):
        cloud.providers()


def test_a_service_that_does_not_answer_is_named() -> None:
    auth = noauth.NoAuth(endpoint="http://127.0.0.1:9")  # the discard port: nobody listens
    with pytest.raises(exceptions.CommandError, match="the placement service does not answer"):
        Cloud(lambda _: adapter.Adapter(session.Session(auth=auth), service_type="placement")).providers()


@pytest.mark.parametrize(
    ("response", "text"),
    [
        (Response(502, "<html>proxy</html>"), "compute: <html>proxy</html> (HTTP 502)"),
        (Response(502, ""), "compute: Bad Gateway (HTTP 502)"),
        (Response(500, "{}", {}), "compute: Bad Gateway (HTTP 500)"),
        (Response(500, "[]", []), "compute: Bad Gateway (HTTP 500)"),
        (Response(400, "x", {"badRequest": {"message": "two\n lines"}}), "compute: two lines (HTTP 400)"),
    ],
)
def test_what_a_service_says_is_passed_on(response: Response, text: str) -> None:
    with pytest.raises(Refused) as refused:
        Cloud(lambda _: Answers(response)).diagnostics("s")
    assert str(refused.value) == text
    assert refused.value.status == response.status_code


@pytest.mark.parametrize(
    ("text", "is_one"),
    [("6ba7b810-9dad-11d1-80b4-00c04fd430c8", True), ("6BA7B8109DAD11D180B400C04FD430C8", True), ("c1", False),
     ("6ba7b810-9dad-11d1-80b4-00c04fd430c8.example.org", False)],
)  # fmt: skip
def test_uuids_are_known(text: str, is_one: bool) -> None:
    assert is_uuid(text) is is_one
