# SPDX-License-Identifier: Apache-2.0
"""Small steps on a tree of domain XML. Private to the package."""

from __future__ import annotations

from typing import Any

from lxml import etree

HECA_NAMESPACE = "https://hecatonchire.org/xmlns/1"
QEMU_NAMESPACE = "http://libvirt.org/schemas/domain/qemu/1.0"

Element = Any  # lxml has no types of its own


def parse(xml: str) -> Element:
    """The element <domain>; ValueError if it is none."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        root = etree.fromstring(xml.encode(), parser)
    except etree.XMLSyntaxError as error:
        raise ValueError(f"this is no XML: {error}") from error
    if root.tag != "domain":
        raise ValueError(f"<{root.tag}> is no <domain>")
    return root


def text_of(root: Element) -> str:
    return str(etree.tostring(root, encoding="unicode"))


def is_element(node: Element) -> bool:
    """Not a comment, not a processing instruction."""
    return isinstance(node.tag, str)


def only_child(parent: Element, name: str) -> Element | None:
    """ValueError if there are several."""
    found = parent.findall(name)
    if len(found) > 1:
        raise ValueError(f"<{parent.tag}> has {len(found)} times <{name}>")
    return found[0] if found else None


def insert_after(parent: Element, name: str, before_it: tuple[str, ...]) -> Element:
    """A new child behind the last one whose name is in `before_it`; without one, the first element."""
    place = max((index + 1 for index, child in enumerate(parent) if child.tag in before_it), default=0)
    element = etree.Element(name)
    parent.insert(place, element)
    return element


def with_namespace(root: Element, prefix: str, namespace: str) -> tuple[Element, str]:
    """The root with `namespace` declared at it, and the prefix. A new root if need be: lxml cannot add one later, and
    libvirt wants QEMU's at <domain>."""
    for known, space in root.nsmap.items():
        if known and space == namespace:
            return root, known
    while prefix in root.nsmap:  # stands for something else
        prefix += "-"
    new = etree.Element(root.tag, root.attrib, nsmap={**root.nsmap, prefix: namespace})
    new.text, new.tail = root.text, root.tail
    new.extend(list(root))
    return new, prefix
