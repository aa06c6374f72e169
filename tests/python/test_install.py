# SPDX-License-Identifier: LGPL-2.1-or-later
"""tools/install into a directory that stands for /, and out of it again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from programs import BUILD, ROOT, program  # noqa: E402


def install(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(ROOT / "tools/install"), *words], capture_output=True, text=True, timeout=120)


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_symlink() or path.is_file()}


def test_everything_is_put_in_place_and_taken_away(tmp_path: Path) -> None:
    program("heca-hook")
    rules = tmp_path / "etc/apparmor.d/local/abstractions/libvirt-qemu"
    rules.parent.mkdir(parents=True)
    rules.write_text("/srv/x r,\n")
    conf = tmp_path / "etc/libvirt/qemu.conf"
    conf.parent.mkdir(parents=True)
    conf.write_text('#user = "root"\nuser = "qemu"\n')
    before = files(tmp_path)
    for _ in range(2):  # twice is once
        done = install("--build", str(BUILD), "--destdir", str(tmp_path), "--prefix", "/usr")
        assert done.returncode == 0, done.stderr
    there = files(tmp_path)
    for name in ("usr/sbin/hecad", "usr/bin/hecactl", "usr/lib/heca/heca-hook", "usr/lib/heca/heca-hook-tell",
                 "usr/lib/systemd/system/hecad.service", "etc/heca/hecad.toml", "etc/libvirt/hooks/qemu.d/50-heca"):
        assert name in there, name
    hook = tmp_path / "etc/libvirt/hooks/qemu.d/50-heca"
    assert os.readlink(hook) == "/usr/lib/heca/heca-hook"
    assert rules.read_text() == "/srv/x r,\n/run/heca/qmp/* rw,  # heca\n"
    assert "d /run/heca/qmp 0770 qemu kvm -" in (tmp_path / "etc/tmpfiles.d/heca.conf").read_text()
    done = install("--remove", "--destdir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert files(tmp_path) - before == {"etc/heca/hecad.toml"}
    assert rules.read_text() == "/srv/x r,\n"
    again = install("--remove", "--destdir", str(tmp_path))
    assert again.returncode == 1 and "nothing is installed" in again.stderr


def test_what_it_does_not_know_it_says(tmp_path: Path) -> None:
    done = install("--what")
    assert done.returncode == 2 and "unknown word" in done.stderr and "--remove" in done.stderr
