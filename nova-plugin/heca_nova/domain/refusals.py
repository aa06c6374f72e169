# SPDX-License-Identifier: Apache-2.0
"""What cannot be governed, by name, each with its remedy: the table of core/domain/refusals.cc, which has the reasons."""

from __future__ import annotations

from collections.abc import Callable

from heca_nova.domain.monitor import arguments
from heca_nova.domain.tree import Element


def _tag(element: Element, attribute: str) -> str:
    value = element.get(attribute)
    return f"<{element.tag}>" if value is None else f"<{element.tag} {attribute}='{value}'>"


def _device(root: Element, name: str, attribute: str, *values: str) -> str:
    found = (_tag(device, attribute) for device in root.findall(f"devices/{name}") if device.get(attribute) in values)
    return next(found, "")


def _within(root: Element, name: str, child: str, attribute: str, *values: str) -> str:
    found = (f"<{name}> with {_tag(part, attribute)}" for part in root.findall(f"devices/{name}/{child}")
             if part.get(attribute) in values)
    return next(found, "")


def _disk(root: Element, *types: str) -> str:
    """A disk, its backing chain or the copy that is being made of it."""
    for disk in root.findall("devices/disk"):
        for part in (disk, *disk.iter("backingStore", "mirror")):
            if part.get("type") in types:
                return _tag(part, "type")
    return ""


def _argument(root: Element, *beginnings: str) -> str:
    """What somebody gave to QEMU past libvirt."""
    found = (f"<qemu:arg value='{argument.get('value')}'>" for argument in arguments(root)
             if argument.get("value", "").startswith(beginnings))
    return next(found, "")


def _not_qemu(root: Element) -> str:
    return "" if root.get("type") in ("kvm", "qemu") else _tag(root, "type")


def _virtiofs(root: Element) -> str:
    return _within(root, "filesystem", "driver", "type", "virtiofs") or _argument(root, "vhost-user-fs")


def _vhost_user(root: Element) -> str:
    return (_device(root, "interface", "type", "vhostuser") or _disk(root, "vhostuser")
            or _within(root, "video", "driver", "name", "vhostuser")
            or _argument(root, "vhost-user-blk", "vhost-user-gpu", "vhost-user-scsi", "vhost-user-vga", "vhost-user,",
                         "type=vhost-user"))


def _vhost_scsi(root: Element) -> str:
    return _device(root, "hostdev", "type", "scsi_host") or _argument(root, "vhost-scsi")


def _vdpa(root: Element) -> str:
    return (_device(root, "interface", "type", "vdpa") or _disk(root, "vhostvdpa")
            or _argument(root, "vhost-vdpa", "type=vhost-vdpa"))


def _vfio(root: Element) -> str:
    return (_device(root, "hostdev", "type", "pci", "mdev") or _device(root, "interface", "type", "hostdev")
            or _argument(root, "vfio-"))


def _virtio_mem(root: Element) -> str:
    return _device(root, "memory", "model", "virtio-mem") or _argument(root, "virtio-mem")


def _nested(root: Element) -> str:
    kind = root.find("os/type")
    arch = kind.get("arch", "") if kind is not None else ""
    if root.get("type") != "kvm" or arch not in ("", "x86_64", "i686"):
        return ""
    for name in ("vmx", "svm"):
        feature = next((f for f in root.findall("cpu/feature") if f.get("name") == name), None)
        if feature is not None and feature.get("policy") not in ("disable", "forbid"):
            return f"<feature name='{name}'> of its CPU has the policy '{feature.get('policy') or 'require'}'"
    return ""


def _encrypted(root: Element) -> str:
    security = root.find("launchSecurity")
    return ((_tag(security, "type") if security is not None else "")
            or _device(root, "memory", "model", "sgx-epc")
            or _argument(root, "sev-guest", "sev-snp-guest", "tdx-guest"))


def _locked(root: Element) -> str:
    if root.find("memoryBacking/locked") is not None:
        return "<locked/> in <memoryBacking>"
    return _argument(root, "mem-lock=on", "mlock=on")


def _shmem(root: Element) -> str:
    shmem = root.find("devices/shmem")
    return _tag(shmem, "name") if shmem is not None else _argument(root, "ivshmem-")


TABLE: tuple[tuple[str, str, Callable[[Element], str]], ...] = (
    ("not QEMU", "hecad governs domains of type kvm or qemu", _not_qemu),
    ("virtiofs", "remove the share; use NFS inside of the guest", _virtiofs),
    ("vhost-user", "use a tap or kernel vhost-net interface and virtio-blk disks", _vhost_user),
    ("vhost-scsi", "use virtio-scsi or virtio-blk", _vhost_scsi),
    ("vhost-vdpa", "use a tap or kernel vhost-net interface", _vdpa),
    ("vfio", "remove the passed-through device; use a virtio device", _vfio),
    ("virtio-mem", "size the guest with DIMMs or the balloon", _virtio_mem),
    ("nested guests", "switch vmx and svm off", _nested),
    ("userspace NVMe", "attach the disk through the kernel's block device", lambda root: _disk(root, "nvme")),
    ("RDMA", "registered memory stays pinned: remove the device", lambda root: _argument(root, "pvrdma")),
    ("udmabuf", "set blob='off' at the <model> of its <video>",
     lambda root: _within(root, "video", "model", "blob", "on")),
    ("encrypted memory", "use an image and a flavor without SEV, TDX or SGX", _encrypted),
    ("locked memory", "use a flavor without hw:cpu_realtime and hw:locked_memory", _locked),
    ("NVDIMM", "remove it (hw:pmem): its file is on no tmpfs",
     lambda root: _device(root, "memory", "model", "nvdimm", "virtio-pmem")),
    ("memfd", "remove it from <qemu:commandline>: RAM has to be a file on tmpfs or hugetlbfs",
     lambda root: _argument(root, "memory-backend-memfd")),
    ("shared with another process", "remove the <shmem>: a reader outside of QEMU would find zeros", _shmem),
)


def judge(root: Element) -> list[str]:
    """All that apply, in the order of the table: "vfio: <hostdev type='pci'>; remedy: ..."."""
    found = ((name, detail(root), remedy) for name, remedy, detail in TABLE)
    return [f"{name}: {what}; remedy: {remedy}" for name, what, remedy in found if what]
