# SPDX-License-Identifier: Apache-2.0
"""What python-openstackclient looks for in a plugin. The names are its contract:
https://docs.openstack.org/python-openstackclient/latest/contributor/plugins.html
"""

from __future__ import annotations

import argparse
from typing import Any

from heca_osc.cloud import Cloud

DEFAULT_API_VERSION = "1"
API_VERSION_OPTION = "os_heca_api_version"
API_NAME = "heca"
API_VERSIONS = {"1": "heca_osc.cloud.Cloud"}


def make_client(instance: Any) -> Cloud:
    """What commands find as `client_manager.heca`. Called at the first use; talks to nobody yet."""
    return Cloud(lambda service: getattr(instance.sdk_connection, service))


def build_option_parser(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """No option of its own: there is one version, and it is not a service that has an address."""
    return parser
