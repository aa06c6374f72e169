# SPDX-License-Identifier: LGPL-2.1-or-later
"""What `hecactl xml` prints, told to a real libvirt: it is taken, kept, and becomes shared files in QEMU."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lab.bench import Bench
from lab.libvirt_host import LibvirtHost
from lab.paths import ROOT, binary


def hecactl_xml(text: str, *args: str) -> str:
    done = subprocess.run([str(binary("hecactl")), "xml", *args], input=text, capture_output=True, text=True,
                          timeout=20)
    assert done.returncode == 0, done.stderr
    return done.stdout


def memory_backends(command_line: str) -> list[dict[str, Any]]:
    return [json.loads(text) for text in re.findall(r"'(\{\"qom-type\":\"memory-backend[^']*\})'", command_line)]


@pytest.mark.parametrize("sample", ["q35", "hugepages", "numa"])
def test_libvirt_takes_it_keeps_it_and_makes_shared_files(bench: Bench, tmp_path: Path, sample: str) -> None:
    host: LibvirtHost = bench.libvirt_host(bench.switch().join(), hugetlbfs=sample == "hugepages")
    # The hosts of the lab have no KVM.
    text = (ROOT / f"tests/data/domains/{sample}.xml").read_text().replace("type='kvm'", "type='qemu'")
    text = re.sub(r"<cpu mode='(host-model|host-passthrough)'[^/>]*", "<cpu mode='maximum'", text)
    text = re.sub(r"<cpu mode='custom'.*?</cpu>", "", text, flags=re.DOTALL)
    file = tmp_path / "domain.xml"
    file.write_text(hecactl_xml(text, "--ratio", "1:3"))
    name = re.findall("<name>(.*)</name>", text)[0]
    host.virsh("define", "--validate", str(file))

    kept = host.virsh("dumpxml", "--inactive", "--security-info", name)
    assert "<heca:memory xmlns:heca=" in kept
    assert hecactl_xml(kept, "--ratio", "1:3") == kept, "libvirt says it in its words, and nothing has to be said again"

    line = host.virsh("domxml-to-native", "qemu-argv", "--domain", name)
    made = memory_backends(line)
    assert made, line
    for backend in made:
        assert backend["qom-type"] == "memory-backend-file" and backend["share"] is True, backend
        assert not backend.get("discard-data"), backend
        assert bool(backend.get("prealloc")) == (sample == "hugepages"), backend
        place = host.huge if sample == "hugepages" else host.memory
        assert backend["mem-path"].startswith(str(place)), backend
    assert "socket,id=heca,path=/run/heca/qmp/" in line and "chardev=heca,mode=control" in line
