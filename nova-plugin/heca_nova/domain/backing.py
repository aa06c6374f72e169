# SPDX-License-Identifier: Apache-2.0
"""RAM in a file that others may map, and disks that do not write into it behind the page tables."""

from __future__ import annotations

from heca_nova.domain.tree import Element, insert_after, only_child

# Disks whose I/O is QEMU's own on this host; what a network disk brings is copied by QEMU, with faults.
_LOCAL_DISKS = ("file", "block", "volume", "dir")
_BUFFERED = {"none": "writeback", "directsync": "writethrough"}
_NESTED = ("vmx", "svm")  # Intel's and AMD's


def repair_backing(root: Element) -> None:
    """<source type='file'/>, <access mode='shared'/>, no discard and no immediate allocation; of NUMA cells and DIMMs
    the same (core/domain/backing.cc has the reasons)."""
    backing = only_child(root, "memoryBacking")
    if backing is None:
        backing = insert_after(root, "memoryBacking", ("name", "uuid", "genid", "title", "description", "metadata",
                                                       "maxMemory", "memory", "currentMemory", "blkiotune", "memtune"))
    for name, attribute, value in (("source", "type", "file"), ("access", "mode", "shared")):
        element = only_child(backing, name)
        if element is None:
            element = backing.makeelement(name)
            backing.append(element)
        element.set(attribute, value)
    allocation = only_child(backing, "allocation")
    if allocation is not None and allocation.get("mode") == "immediate":
        del allocation.attrib["mode"]
        if not allocation.attrib:  # else it has threads, for huge pages
            backing.remove(allocation)
    discard = only_child(backing, "discard")
    if discard is not None:
        backing.remove(discard)
    for cell in root.findall("cpu/numa/cell"):
        _repair_part(cell, "memAccess")
    for dimm in root.findall("devices/memory"):
        _repair_part(dimm, "access")


def _repair_part(part: Element, access: str) -> None:
    if part.get(access) == "private":
        part.set(access, "shared")
    if part.get("discard") == "yes":
        del part.attrib["discard"]


def switch_nested_off(root: Element) -> None:
    """Where the CPU is the host's, which may bring vmx or svm with it (core/domain/nested.cc)."""
    cpu = root.find("cpu")
    arch = root.find("os/type").get("arch", "") if root.find("os/type") is not None else ""
    if cpu is None or root.get("type") != "kvm" or arch not in ("", "x86_64", "i686"):
        return
    if cpu.get("mode") not in ("host-passthrough", "host-model", "maximum"):
        return
    for name in _NESTED:
        if not any(feature.get("name") == name for feature in cpu.findall("feature")):
            feature = insert_after(cpu, "feature",
                                   ("model", "vendor", "topology", "cache", "maxphysaddr", "feature"))
            feature.set("policy", "disable")
            feature.set("name", name)


def buffer_disks(root: Element) -> None:
    """Disks without the page cache get it: cache 'none' becomes 'writeback', 'directsync' 'writethrough'.

    A direct read pins guest pages and writes them without a fault, so that hecad has to wait for it before a page
    leaves; a buffered one faults like the guest does. The guest's flushes reach the disk as before. Shared disks stay:
    libvirt takes them without a cache only.
    """
    for disk in root.findall("devices/disk"):
        driver = disk.find("driver")
        if driver is None or disk.get("type") not in _LOCAL_DISKS or disk.find("shareable") is not None:
            continue
        if driver.get("cache") in _BUFFERED:
            driver.set("cache", _BUFFERED[driver.get("cache")])
            if driver.get("io") == "native":  # libvirt takes it with direct I/O only
                driver.set("io", "threads")
