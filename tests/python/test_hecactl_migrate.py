# SPDX-License-Identifier: LGPL-2.1-or-later
"""hecactl migrate DOMAIN DEST as a program: with a virsh that is played by a script, and a fake hecad."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from programs import SECONDS, fake_hecad, program  # noqa: E402

UUID = "6bd0ee0e-4eb7-4a4b-9bd1-9a2f8a7a3c11"
METADATA = "<heca:memory xmlns:heca='https://hecatonchire.org/xmlns/1' migration='post-copy'/>"
# Notes each call; `migrate` lasts until the domain is called off or the file `done` is there.
VIRSH = """#!/bin/sh
cd "$(dirname "$0")"
echo "$LC_ALL $*" >> calls
shift 3
case "$1" in
  domstate) cat state ;;
  dumpxml) cat xml ;;
  list) echo "%s" ;;
  domjobabort) touch aborted ;;
  migrate)
    touch begun
    n=0
    while [ ! -e done ] && [ ! -e aborted ] && [ $n -lt 1000 ]; do sleep 0.02; n=$((n + 1)); done
    [ ! -e aborted ] || { echo "error: operation aborted: migration out job: canceled by client" >&2; exit 1; }
    cat error >&2 2>/dev/null && exit 1
    exit 0 ;;
esac
""" % UUID


class Libvirt:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.say("virsh", VIRSH)
        (directory / "virsh").chmod(0o755)
        self.say("state", "running\n\n")
        self.say("xml", f"<domain type='kvm'><name>vm1</name><uuid>{UUID}</uuid><memory>1048576</memory>"
                        f"<metadata>{METADATA}</metadata></domain>")

    def say(self, name: str, text: str = "") -> None:
        (self.directory / name).write_text(text)

    def calls(self) -> list[str]:
        return (self.directory / "calls").read_text().splitlines()

    def wait_begun(self) -> None:
        until = time.monotonic() + SECONDS
        while not (self.directory / "begun").exists():
            assert time.monotonic() < until
            time.sleep(0.02)


@pytest.fixture
def libvirt(tmp_path: Path) -> Libvirt:
    directory = tmp_path / "bin"
    directory.mkdir()
    return Libvirt(directory)


@pytest.fixture
def socket(tmp_path: Path) -> Path:
    return tmp_path / "hecad.sock"


def begin(libvirt: Libvirt, socket: Path, *words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PATH": f"{libvirt.directory}:{os.environ['PATH']}", "LC_ALL": "de_DE.UTF-8"}
    return subprocess.Popen([program("hecactl"), "--socket", str(socket), "migrate", *words], env=environment, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def migrate(libvirt: Libvirt, socket: Path, *words: str) -> subprocess.CompletedProcess[str]:
    process = begin(libvirt, socket, *words)
    out, err = process.communicate(timeout=SECONDS)
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def test_a_domain_in_words_and_as_json(libvirt: Libvirt, socket: Path) -> None:
    libvirt.say("done")
    with fake_hecad(socket, "departs=vm1"):
        ran = migrate(libvirt, socket, "vm1", "far.example.org")
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout.startswith("region vm1: moved to far.example.org, post-copy\n  total ")
        assert "migrate: post-copy: 512MiB of 1GiB (50%)" in ran.stderr
        assert "faults served" in ran.stderr
    with fake_hecad(socket, "departs=vm1"):
        ran = migrate(libvirt, socket, "--domain", "vm1", "qemu+ssh://far/system", "--json", "--connect", "qemu:///other",
                      "--no-undefine-source")
        assert ran.returncode == 0 and ran.stderr == ""
        document = json.loads(ran.stdout)
        assert document["destination_uri"] == document["destination"] == "qemu+ssh://far/system"
        assert document["migration"]["region"] == "vm1"
    made = [call for call in libvirt.calls() if " migrate " in call]
    assert made == [
        f"C -q -c qemu:///system migrate --live --p2p --persistent --undefinesource --domain {UUID} "
        "--desturi qemu+tcp://far.example.org/system",
        f"C -q -c qemu:///other migrate --live --p2p --persistent --domain {UUID} --desturi qemu+ssh://far/system",
    ]


def test_migrations_are_a_table(libvirt: Libvirt, socket: Path) -> None:
    with fake_hecad(socket, "departs=vm1"):
        call = [program("hecactl"), "--socket", str(socket), "migrations"]
        empty = subprocess.run(call, capture_output=True, text=True, timeout=SECONDS)
        assert empty.stdout.startswith("no migrations: ")
        rows = subprocess.run(call, capture_output=True, text=True, timeout=SECONDS).stdout.splitlines()
        assert rows[0].split()[:4] == ["REGION", "TO", "MODE", "PHASE"]
        assert rows[1].split()[:4] == ["vm1", "c2", "post-copy", "stream"]
        listed = json.loads(subprocess.run([*call, "--json"], capture_output=True, text=True, timeout=SECONDS).stdout)
        assert listed["migrations"][0]["domain"] == "vm1"


def test_libvirts_own_error(libvirt: Libvirt, socket: Path) -> None:
    libvirt.say("done")
    libvirt.say("error", "error: internal error: no route\nerror: and more\n")
    with fake_hecad(socket):
        ran = migrate(libvirt, socket, "vm1", "far", "--json")
        assert ran.returncode == 1
        assert ran.stderr == ("hecactl: migrate: libvirt: internal error: no route; and more; 'vm1' is running here\n")
        assert json.loads(ran.stdout)["error"]["exit_code"] == 1


def test_a_domain_that_does_not_ask_for_heca_is_left_alone(libvirt: Libvirt, socket: Path) -> None:
    libvirt.say("xml", (libvirt.directory / "xml").read_text().replace(METADATA, ""))
    with fake_hecad(socket):
        ran = migrate(libvirt, socket, "vm1", "far")
        assert ran.returncode == 4
        assert "`virsh migrate --live --p2p vm1 qemu+tcp://far/system` does that" in ran.stderr
        libvirt.say("state", "shut off\n")
        ran = migrate(libvirt, socket, "vm1", "far")
        assert ran.returncode == 4 and "virsh start vm1" in ran.stderr
    assert not (libvirt.directory / "begun").exists()
    assert migrate(libvirt, socket, "vm1", "far").returncode == 3, "no hecad"


def test_without_virsh(libvirt: Libvirt, socket: Path) -> None:
    with fake_hecad(socket):
        ran = subprocess.run([program("hecactl"), "--socket", str(socket), "migrate", "vm1", "far"],
                             env={"PATH": "/nowhere"}, capture_output=True, text=True, timeout=SECONDS)
        assert ran.returncode == 4
        assert "libvirt-clients" in ran.stderr


def test_ctrl_c_is_for_hecactl_alone_and_calls_the_migration_off(libvirt: Libvirt, socket: Path) -> None:
    with fake_hecad(socket):
        process = begin(libvirt, socket, "vm1", "far")
        libvirt.wait_begun()
        os.kill(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=SECONDS)
        assert process.returncode == 130
        assert err.splitlines()[-1] == "hecactl: migrate: called off; 'vm1' is running here"
        assert any(call.endswith(f"domjobabort {UUID}") for call in libvirt.calls())


def test_the_timeout_calls_it_off_too(libvirt: Libvirt, socket: Path) -> None:
    with fake_hecad(socket):
        ran = migrate(libvirt, socket, "vm1", "far", "--timeout", "0.5")
        assert ran.returncode == 5
        assert "not done within 500ms; the VM stays here unless it had changed over" in ran.stderr


def test_after_the_switch_ctrl_c_only_ends_the_wait_and_libvirt_goes_on(libvirt: Libvirt, socket: Path) -> None:
    with fake_hecad(socket, "departs=vm1", "stays=post-copy"):
        process = begin(libvirt, socket, "vm1", "far")
        assert process.stderr
        for line in process.stderr:
            if line.startswith("migrate: post-copy"):
                break
        os.kill(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=SECONDS)
        assert process.returncode == 130
        assert "only the wait ends: 'vm1' has changed over to qemu+tcp://far/system" in err
        assert not (libvirt.directory / "aborted").exists()
        libvirt.say("done")  # virsh was not ended with hecactl: it sees this
