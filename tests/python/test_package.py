# SPDX-License-Identifier: LGPL-2.1-or-later
"""The Debian package: built, installed into a directory that stands for /, upgraded and taken away again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from programs import BUILD, program  # noqa: E402

RULES = "etc/apparmor.d/local/abstractions/libvirt-qemu"
TMPFILES = "etc/tmpfiles.d/heca.conf"
HOOK = "etc/libvirt/hooks/qemu.d/50-heca"


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for name in ("hecad", "hecactl", "heca-hook", "heca-hook-tell"):
        program(name)
    for tool in ("cpack", "dpkg-shlibdeps"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    directory = tmp_path_factory.mktemp("package")
    run("cpack", "--config", str(BUILD / "CPackConfig.cmake"), "-B", str(directory))
    return next(directory.glob("*.deb"))


class Host:
    """A directory that dpkg takes for /; maintainer scripts see it as DPKG_ROOT."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("info", "updates", "triggers"):
            (root / "var/lib/dpkg" / name).mkdir(parents=True)
        (root / "var/lib/dpkg/status").touch()

    def dpkg(self, *words: str) -> None:
        run("dpkg", f"--root={self.root}", "--force-script-chrootless", "--force-depends", "--force-not-root",
            "--force-bad-path", f"--log={self.root}/dpkg.log", *words)

    def read(self, name: str) -> str:
        return (self.root / name).read_text()

    def files(self) -> set[str]:
        found = {str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_symlink() or path.is_file()}
        return {name for name in found if not name.startswith("var/lib/dpkg/") and name != "dpkg.log"}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_it_holds_what_tools_install_puts_in_place(package: Path) -> None:
    lines = [line.split() for line in run("dpkg-deb", "-c", str(package)).splitlines()]
    listed = {words[5].removeprefix("./"): words[0] for words in lines}
    for name in ("usr/sbin/hecad", "usr/bin/hecactl", "usr/lib/heca/heca-hook", "usr/lib/heca/heca-hook-tell",
                 "usr/lib/heca/for-libvirt"):
        assert listed[name] == "-rwxr-xr-x", name
    for name in ("usr/lib/systemd/system/hecad.service", "etc/heca/hecad.toml", "usr/share/man/man8/hecad.8"):
        assert any(entry.startswith(name) for entry in listed), name
    assert listed[HOOK].startswith("l")
    assert "ExecStart=/usr/sbin/hecad" in run("sh", "-c", f"dpkg-deb --fsys-tarfile '{package}' | "
                                              "tar -xO ./usr/lib/systemd/system/hecad.service")


def test_it_comes_is_upgraded_and_goes(package: Path, host: Host) -> None:
    rules = host.root / RULES
    rules.parent.mkdir(parents=True)
    rules.write_text("/srv/x r,\n")
    conf = host.root / "etc/libvirt/qemu.conf"
    conf.parent.mkdir(parents=True)
    conf.write_text('user = "qemu"\n')
    before = host.files()

    host.dpkg("-i", str(package))
    assert os.readlink(host.root / HOOK) == "/usr/lib/heca/heca-hook"
    assert host.read(RULES) == "/srv/x r,\n/run/heca/qmp/* rw,  # heca\n"
    assert "d /run/heca/qmp 0770 qemu kvm -" in host.read(TMPFILES)

    (host.root / "etc/heca/hecad.toml").write_text("# the operator's\n")
    there = host.files()
    host.dpkg("--force-confold", "-i", str(package))
    assert host.files() == there
    assert host.read(RULES).count("heca") == 2, "twice is once"
    assert host.read("etc/heca/hecad.toml") == "# the operator's\n"

    host.dpkg("-r", "hecatonchire")
    assert host.files() - before == {"etc/heca/hecad.toml"}
    assert host.read(RULES) == "/srv/x r,\n"
    host.dpkg("-P", "hecatonchire")
    assert host.files() == before


def test_what_it_says_about_libvirt(package: Path) -> None:
    scripts = run("sh", "-c", f"dpkg-deb --ctrl-tarfile '{package}' | tar -xO ./postinst")
    assert "systemctl restart $libvirt" in scripts, "libvirt looks for hooks when it starts"
