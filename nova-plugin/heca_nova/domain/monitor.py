# SPDX-License-Identifier: Apache-2.0
"""The second QMP socket, hecad's own, by <qemu:commandline> (core/domain/monitor.cc)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from lxml import etree

from heca_nova.domain.tree import QEMU_NAMESPACE, Element, with_namespace

_ARG = f"{{{QEMU_NAMESPACE}}}arg"
_COMMANDLINE = f"{{{QEMU_NAMESPACE}}}commandline"
_MON = "chardev=heca,mode=control"
# sizeof(sockaddr_un::sun_path) on Linux, less the 0 at its end
_LONGEST_PATH = 107


def arguments(root: Element) -> list[Element]:
    """All <qemu:arg>, in order."""
    return [argument for line in root.findall(_COMMANDLINE) for argument in line.findall(_ARG)]


def _value_of(option: str, key: str) -> str | None:
    """Of `key` in "socket,id=heca,path=/a,,b"; two commas stand for one."""
    parts = [part.replace("\0", ",") for part in option.replace(",,", "\0").split(",")]
    return next((part[len(key) + 1:] for part in parts if part.startswith(key + "=") and len(part) > len(key)), None)


def _is_json(option: str) -> bool:
    return option.startswith("{")


def _is_chardev(option: str) -> bool:
    return '"heca"' in option if _is_json(option) else _value_of(option, "id") == "heca"


def _is_monitor(option: str) -> bool:
    if _is_json(option):
        return '"heca"' in option
    return _value_of(option, "chardev") == "heca" or option == "heca" or option.startswith("heca,")


def _find_value(root: Element, option: str, match: Callable[[str], bool]) -> Element | None:
    """The argument behind `option` for which `match` holds."""
    args = arguments(root)
    for name, value in pairwise(args):
        if name.get("value", "") in (option, "-" + option) and match(value.get("value", "")):
            return value
    return None


def _add(root: Element, *values: str) -> Element:
    line = root.find(_COMMANDLINE)
    if line is None:
        root, _ = with_namespace(root, "qemu", QEMU_NAMESPACE)
        line = etree.SubElement(root, _COMMANDLINE)
    for value in values:
        etree.SubElement(line, _ARG).set("value", value)
    return root


def ensure_monitor(root: Element, name: str, uuid: str, directory: str) -> Element:
    """Adds what is missing of the socket and the monitor on it; the root, which may be a new one.

    A socket with id=heca elsewhere is the operator's and stays; one in `directory` under another domain's name came
    with copied XML and becomes this domain's. ValueError: it is no unix socket, or its path is too long for one.
    """
    path = f"{directory}/{uuid or name}.sock"
    wanted = f"socket,id=heca,path={path.replace(',', ',,')},server=on,wait=off"
    chardev = _find_value(root, "-chardev", _is_chardev)
    if chardev is None:
        _check_length(path)
        root = _add(root, "-chardev", wanted)
    elif not _is_json(chardev.get("value", "")):
        option = chardev.get("value", "")
        there = _value_of(option, "path") or ""
        if not option.startswith("socket,") or not there:
            raise ValueError(f"the chardev '{option}' in <qemu:commandline> has the name that hecad looks for, and is no "
                             "unix socket; give it another id")
        if there.startswith(directory + "/") and there not in (path, f"{directory}/{name}.sock"):
            _check_length(path)
            chardev.set("value", wanted)
    monitor = _find_value(root, "-mon", _is_monitor)
    if monitor is None:
        return _add(root, "-mon", _MON)
    option = monitor.get("value", "")
    if not _is_json(option) and _value_of(option, "mode") != "control":
        monitor.set("value", _MON)
    return root


def _check_length(path: str) -> None:
    if len(path.encode()) > _LONGEST_PATH:
        raise ValueError(f"the QMP socket's path '{path}' is longer than the {_LONGEST_PATH} bytes that it may have")
