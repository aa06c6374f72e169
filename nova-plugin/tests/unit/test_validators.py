# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from nova import exception

from heca_nova import validators, wish

BY_NAME = {validator.name: validator for validator in validators.register()}

GOOD = [("ratio", "1:3"), ("ratio", "1000:1"), ("migration", "post-copy"), ("migration", "hybrid"),
        ("migration", "pre-copy"), ("replicas", "1"), ("transport", "auto"), ("transport", "tcp"),
        ("transport", "rdma")]
BAD = [("ratio", "3"), ("ratio", "0:1"), ("ratio", "1:1001"), ("migration", "postcopy"), ("replicas", "0"),
       ("replicas", "2"), ("replicas", "x"), ("transport", "ib")]


@pytest.mark.parametrize(("name", "value"), GOOD)
def test_what_the_api_takes_the_driver_takes(name: str, value: str) -> None:
    BY_NAME[f"heca:{name}"].validate(f"heca:{name}", value)
    assert wish.from_flavor({f"heca:{name}": value})


@pytest.mark.parametrize(("name", "value"), BAD)
def test_what_the_driver_refuses_the_api_refuses(name: str, value: str) -> None:
    with pytest.raises(exception.ValidationError):
        BY_NAME[f"heca:{name}"].validate(f"heca:{name}", value)
    with pytest.raises(ValueError):
        wish.from_flavor({f"heca:{name}": value})


def test_nova_finds_them_where_the_package_is_installed() -> None:
    from importlib.metadata import entry_points

    if not [entry for entry in entry_points(group="nova.api.extra_spec_validators") if entry.name == "heca"]:
        pytest.skip("heca-nova is not installed here, only on the path; test_packaging.py installs it")
    from nova.api.validation.extra_specs import validators as nova_validators

    nova_validators.validate("heca:ratio", "1:3")
    for key, value in (("heca:ratio", "3"), ("heca:ration", "1:3")):
        with pytest.raises(exception.ValidationError):
            nova_validators.validate(key, value)
