# SPDX-License-Identifier: Apache-2.0
"""Domain XML made ready for heca, and repaired on its way to another host. Pure functions of text; doing it twice is
doing it once. ValueError: it is no domain XML, or the domain cannot be governed; the text names each reason with its
remedy."""

from __future__ import annotations

from lxml import etree

from heca_nova.domain.backing import buffer_disks, repair_backing, switch_nested_off
from heca_nova.domain.monitor import ensure_monitor
from heca_nova.domain.refusals import judge
from heca_nova.domain.tree import HECA_NAMESPACE, Element, insert_after, only_child, parse, text_of
from heca_nova.wish import Wish

_MEMORY = f"{{{HECA_NAMESPACE}}}memory"


def mentions_heca(xml: str) -> bool:
    """False: the domain is none of ours, whatever else is in the text (core/domain/metadata.h)."""
    return HECA_NAMESPACE in xml


def make_ready(xml: str, wish: Wish, *, qmp_directory: str, buffered_disks: bool) -> str:
    """RAM in a shared file, hecad's QMP socket, the wish in the metadata in place of what it says there."""
    root = parse(xml)
    refusals = judge(root)
    if refusals:
        raise ValueError(". ".join(refusals))
    _write_wish(root, wish)
    repair_backing(root)
    root = _with_monitor(root, qmp_directory)
    switch_nested_off(root)
    if buffered_disks:
        buffer_disks(root)
    return text_of(root)


def repair_incoming(xml: str, *, qmp_directory: str) -> str:
    """For a live migration's destination: memory backing and QMP socket as above, the rest untouched, because what the
    guest sees has to be what it sees at the source. A domain without <heca:memory> comes back as it is."""
    if not mentions_heca(xml):
        return xml
    root = parse(xml)
    if root.find(f"metadata/{_MEMORY}") is None:
        return xml
    repair_backing(root)
    return text_of(_with_monitor(root, qmp_directory))


def refuse_device(xml: str, kind: str) -> list[str]:
    """What of the table of refusals speaks against plugging one device, of QEMU under libvirt, into a heca server."""
    return judge(parse(f"<domain type='{kind}'><devices>{xml}</devices></domain>"))


def _with_monitor(root: Element, qmp_directory: str) -> Element:
    name = (root.findtext("name") or "").strip()
    if not name:
        raise ValueError("the domain has no <name>")
    return ensure_monitor(root, name, (root.findtext("uuid") or "").strip(), qmp_directory)


def _write_wish(root: Element, wish: Wish) -> None:
    metadata = only_child(root, "metadata")
    if metadata is None:
        metadata = insert_after(root, "metadata", ("name", "uuid", "genid", "title", "description"))
    element = only_child(metadata, _MEMORY)
    if element is None:
        element = etree.SubElement(metadata, _MEMORY, nsmap={"heca": HECA_NAMESPACE})
    for name, value in wish.words().items():
        if value:
            element.set(name, value)
        else:
            element.attrib.pop(name, None)
