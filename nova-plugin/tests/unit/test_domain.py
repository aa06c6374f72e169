# SPDX-License-Identifier: Apache-2.0
"""The domain XML, held against what core/domain makes of the same: its output lies in data/, and where hecactl is built,
both are run."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from lxml import etree

from heca_nova import domain
from heca_nova.wish import Wish

REPOSITORY = Path(__file__).resolve().parents[3]
SAMPLES = REPOSITORY / "tests/data/domains"
DATA = Path(__file__).resolve().parent / "data"
NAMES = ["q35", "nova", "hugepages", "numa"]
WISH = Wish(ratio=(1, 3), migration="hybrid", transport="tcp")
WORDS = ["--ratio", "1:3", "--migration", "hybrid", "--transport", "tcp"]
UUID = "11111111-2222-3333-4444-555555555555"


def same(xml: str) -> str:
    """Canonical, without the blanks between elements."""
    root = etree.fromstring(xml.encode(), etree.XMLParser(remove_blank_text=True, remove_comments=True))
    for element in root.iter():
        element.tail = None
    return etree.tostring(root, method="c14n").decode()


def ready(xml: str, wish: Wish = WISH, buffered: bool = False) -> str:
    return domain.make_ready(xml, wish, qmp_directory="/run/heca/qmp", buffered_disks=buffered)


def small(inside: str = "", devices: str = "", kind: str = "kvm") -> str:
    return (f"<domain type='{kind}'><name>vm1</name><uuid>{UUID}</uuid><memory unit='MiB'>512</memory>{inside}"
            f"<devices>{devices}</devices></domain>")


def strip(xml: str, *paths: str) -> str:
    root = etree.fromstring(xml.encode())
    for path in paths:
        for element in root.findall(path):
            element.getparent().remove(element)
    return etree.tostring(root, encoding="unicode")


@pytest.mark.parametrize("name", NAMES)
def test_as_the_core_has_made_it(name: str) -> None:
    assert same(ready((SAMPLES / f"{name}.xml").read_text())) == same((DATA / f"{name}.ready.xml").read_text())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("words", [WORDS, ["--local", "192MiB", "--replicas", "1"]], ids=["ratio", "local"])
def test_as_the_core_makes_it_now(name: str, words: list[str]) -> None:
    build = Path(os.environ.get("HECA_BUILD", REPOSITORY / "build/dev"))
    if not (build / "hecactl").exists():
        pytest.skip(f"{build}/hecactl is not built; data/ has what it made")
    sample = (SAMPLES / f"{name}.xml").read_text()
    made = subprocess.run([build / "hecactl", "--socket", "/nonexistent", "xml", *words], input=sample, text=True,
                          capture_output=True, timeout=30, check=True).stdout
    wish = WISH if words is WORDS else Wish(local=192 << 20, replicas=1)
    assert same(ready(sample, wish)) == same(made)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("buffered", [True, False])
def test_twice_is_once(name: str, buffered: bool) -> None:
    once = ready((SAMPLES / f"{name}.xml").read_text(), buffered=buffered)
    assert same(ready(once, buffered=buffered)) == same(once)


def test_a_new_wish_goes_over_the_old_one() -> None:
    again = ready(ready(small()), Wish(local=64 << 20))
    assert 'local="64MiB"' in again
    assert "ratio" not in again and "migration" not in again


def test_a_namespace_of_qemu_that_is_there_is_used() -> None:
    xml = small().replace("<domain ", "<domain xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0' ")
    assert "<q:commandline>" in ready(xml)
    other = small().replace("<domain ", "<domain xmlns:qemu='urn:other' ")
    assert "qemu-:commandline" in ready(other)


def commandline(*values: str) -> str:
    args = "".join(f"<q:arg value='{value}'/>" for value in values)
    return f"<q:commandline xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'>{args}</q:commandline>"


def args_of(xml: str) -> list[str]:
    return [a.get("value") for a in etree.fromstring(xml.encode()).iter("{*}arg")]


def test_an_operators_socket_stays_and_a_copied_one_becomes_its_own() -> None:
    theirs = ["-chardev", "socket,id=heca,path=/srv/a,,b.sock,server=on,wait=off", "-mon", "chardev=heca,mode=control"]
    assert args_of(ready(small(commandline(*theirs)))) == theirs
    copied = ["-chardev", "socket,id=heca,path=/run/heca/qmp/other.sock,server=on,wait=off"]
    assert args_of(ready(small(commandline(*copied)))) == [
        "-chardev", f"socket,id=heca,path=/run/heca/qmp/{UUID}.sock,server=on,wait=off", "-mon",
        "chardev=heca,mode=control"]


def test_a_human_monitor_becomes_qmp_and_a_taken_name_is_refused() -> None:
    human = ["-chardev", "socket,id=heca,path=/a,server=on", "-mon", "chardev=heca,mode=readline"]
    assert args_of(ready(small(commandline(*human))))[3] == "chardev=heca,mode=control"
    with pytest.raises(ValueError, match="give it another id"):
        ready(small(commandline("-chardev", "pty,id=heca")))


def test_a_path_that_is_too_long_for_a_socket_is_refused() -> None:
    with pytest.raises(ValueError, match="107 bytes"):
        domain.make_ready(small(), WISH, qmp_directory="/" + "x" * 100, buffered_disks=False)


REFUSED = [
    ("virtiofs", "", "<filesystem type='mount'><driver type='virtiofs'/></filesystem>"),
    ("vhost-user", "", "<interface type='vhostuser'/>"), ("vhost-user", "", "<disk type='vhostuser'/>"),
    ("vhost-user", "", "<video><driver name='vhostuser'/></video>"),
    ("vhost-scsi", "", "<hostdev mode='subsystem' type='scsi_host'/>"), ("vhost-vdpa", "", "<interface type='vdpa'/>"),
    ("vhost-vdpa", "", "<disk type='vhostvdpa'/>"), ("vfio", "", "<hostdev mode='subsystem' type='pci'/>"),
    ("vfio", "", "<hostdev mode='subsystem' type='mdev'/>"), ("vfio", "", "<interface type='hostdev'/>"),
    ("virtio-mem", "", "<memory model='virtio-mem'/>"),
    ("nested guests", "<cpu mode='host-model'><feature policy='require' name='vmx'/></cpu>", ""),
    ("nested guests", "<cpu><model>EPYC</model><feature name='svm'/></cpu>", ""),
    ("userspace NVMe", "", "<disk type='nvme'/>"),
    ("userspace NVMe", "", "<disk type='file'><backingStore type='nvme'/></disk>"),
    ("udmabuf", "", "<video><model type='virtio' blob='on'/></video>"),
    ("encrypted memory", "<launchSecurity type='sev'/>", ""), ("encrypted memory", "", "<memory model='sgx-epc'/>"),
    ("locked memory", "<memoryBacking><locked/></memoryBacking>", ""), ("NVDIMM", "", "<memory model='nvdimm'/>"),
    ("shared with another process", "", "<shmem name='my'/>"), ("RDMA", commandline("-device", "pvrdma,x=1"), ""),
    ("vfio", commandline("-device", "vfio-pci,host=01:00.0"), ""), ("memfd", commandline("memory-backend-memfd,id=m"), ""),
    ("virtiofs", commandline("vhost-user-fs-pci,tag=t"), ""), ("vhost-user", commandline("vhost-user,chardev=c"), ""),
]


@pytest.mark.parametrize(("name", "inside", "devices"), REFUSED)
def test_what_cannot_be_governed_is_refused_by_name(name: str, inside: str, devices: str) -> None:
    with pytest.raises(ValueError, match=rf"^{name}: .*; remedy: "):
        ready(small(inside, devices))


def test_all_reasons_at_once_and_none_for_what_is_fine() -> None:
    with pytest.raises(ValueError, match=r"vhost-vdpa: .*\. vfio: "):
        ready(small("", "<interface type='vdpa'/><hostdev type='pci'/>"))
    with pytest.raises(ValueError, match="not QEMU"):
        ready(small(kind="lxc"))
    fine = "<interface type='bridge'><driver name='vhost'/></interface><memory model='dimm'/><hostdev type='usb'/>"
    ready(small("<cpu mode='host-model'><feature policy='disable' name='vmx'/></cpu>", fine))
    assert domain.refuse_device("<interface type='bridge'/>", "kvm") == []
    assert domain.refuse_device("<interface type='hostdev'/>", "kvm")[0].startswith("vfio: ")


def test_no_domain_is_refused() -> None:
    for text in ("", "<domain", "<network/>", "<domain type='kvm'><memory>1</memory></domain>"):
        with pytest.raises(ValueError):
            ready(text)


DISKS = [("none", "", "writeback", None), ("directsync", "", "writethrough", None), ("writeback", "", "writeback", None),
         ("none", "io='native'", "writeback", "threads"), ("none", "io='io_uring'", "writeback", "io_uring"),
         ("unsafe", "", "unsafe", None)]


@pytest.mark.parametrize(("cache", "io", "after", "io_after"), DISKS)
@pytest.mark.parametrize("kind", ["file", "block"])
def test_disks_go_through_the_page_cache(kind: str, cache: str, io: str, after: str, io_after: str | None) -> None:
    disk = f"<disk type='{kind}'><driver name='qemu' cache='{cache}' {io}/></disk>"
    driver = etree.fromstring(ready(small("", disk), buffered=True).encode()).find("devices/disk/driver")
    assert (driver.get("cache"), driver.get("io")) == (after, io_after)
    kept = etree.fromstring(ready(small("", disk)).encode()).find("devices/disk/driver")
    assert kept.get("cache") == cache


def test_shared_and_network_disks_keep_their_cache() -> None:
    for disk in ("<disk type='block'><driver cache='none'/><shareable/></disk>",
                 "<disk type='network'><driver cache='none'/></disk>"):
        assert "cache=\"none\"" in ready(small("", disk), buffered=True)


@pytest.mark.parametrize("name", NAMES)
def test_a_destination_gets_back_what_nova_strips(name: str) -> None:
    whole = strip((DATA / f"{name}.ready.xml").read_text(), "memoryBacking/allocation")
    stripped = strip(whole, "memoryBacking/source", "memoryBacking/access")
    assert same(stripped) != same(whole)
    repaired = domain.repair_incoming(stripped, qmp_directory="/run/heca/qmp")
    assert same(repaired) == same(whole)
    assert same(domain.repair_incoming(repaired, qmp_directory="/run/heca/qmp")) == same(whole)


def test_a_destination_of_an_ordinary_server_comes_back_as_it_is() -> None:
    xml = small()
    assert domain.repair_incoming(xml, qmp_directory="/run/heca/qmp") is xml
    mentioned = small(f"<description>{domain.HECA_NAMESPACE}</description>")
    assert domain.repair_incoming(mentioned, qmp_directory="/run/heca/qmp") is mentioned
