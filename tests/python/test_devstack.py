# SPDX-License-Identifier: LGPL-2.1-or-later
"""nova-plugin/devstack, sourced as DevStack does it (July 2026: `run_plugins` in its functions-common), with DevStack's
own functions, and all that changes the host, replaced by ones that write down how they were called.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from programs import ROOT, program

STUBS = """
set -eu
HERE=$PWD
declare -A GITDIR=([heca]="$HERE/heca")
HOST_IP=10.0.0.1 STACK_USER=root NOVA_CONF=$HERE/nova.conf INSTANCE_NAME_PREFIX=instance-
log() { printf '%s\\n' "$*" >> "$HERE/log"; }
define_plugin() { :; }
echo_summary() { log "summary $*"; }
is_service_enabled() { [[ " $ENABLED " == *" $1 "* ]]; }
pip_install() { log "pip_install ${1#"$TREE"}"; }
iniset() { log "iniset ${1##*/} $2 $3 $4"; }
restart_service() { log "restart_service $*"; }
die() { log "die $*"; exit 1; }
mountpoint() { return "$UNMOUNTED"; }
tools/build() { log "tools/build $*"; }
sudo() {
    case "$1 ${2:-}" in
        "tee -a") log "sudo $*"; cat >> "$HERE/qemu.conf" ;;
        "tee "*) log "sudo $*"; cat > "$HERE/hecad.toml" ;;
        "sed "*) sed -i "$3" "$HERE/qemu.conf" ;;
        "virsh list") printf 'instance-1\\nother\\n' ;;
        *) log "sudo ${*//"$TREE"/}" ;;
    esac
}
source heca/devstack/settings
HECA_PREFIX=$HERE
source heca/devstack/plugin.sh $PHASE
"""


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """A folder as DevStack's: the plugin by the name that is enabled, and the tree it is linked from."""
    (tmp_path / "heca").symlink_to(ROOT / "nova-plugin")
    (tmp_path / "sbin").mkdir()
    checker = tmp_path / "sbin/hecad"
    checker.write_text("#!/bin/sh\nexit 0\n")
    checker.chmod(0o755)
    (tmp_path / "qemu.conf").write_text('#memory_backing_dir = "/x"\nmemory_backing_dir = "/old"\nuser = "qemu"\n')
    return tmp_path


def run(stack: Path, phase: str, *, enabled: str = "n-cpu", unmounted: int = 1, **settings: str) -> list[str]:
    """What the plugin did in one phase."""
    environment = {
        "PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "PHASE": phase, "ENABLED": enabled, "UNMOUNTED": str(unmounted),
        "TREE": str(ROOT), **settings,
    }
    done = subprocess.run(["bash", "-c", STUBS], cwd=stack, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    log = stack / "log"
    return log.read_text().splitlines() if log.exists() else []


def test_a_compute_host_is_built_and_set_up_before_nova_starts(stack: Path) -> None:
    did = run(stack, "stack post-config", HECA_PEERS="m1=10.0.0.3:7300 c2=10.0.0.2:7300", HECA_DONATE="4GiB")
    assert "sudo mount -t tmpfs -o size=75%,huge=never,mode=0755 heca-ram /var/lib/heca/ram" in did
    assert "iniset nova.conf DEFAULT compute_driver heca.HecaLibvirtDriver" in did
    assert did.index("restart_service libvirtd") < did.index("sudo systemctl restart hecad")
    written = tomllib.loads((stack / "hecad.toml").read_text())
    assert written["control-listen"] == "10.0.0.1:7300"
    assert written["donate"] == "4GiB"
    assert written["socket-group"] == "root"
    assert written["peer"] == [{"name": "m1", "address": "10.0.0.3:7300"}, {"name": "c2", "address": "10.0.0.2:7300"}]
    conf = (stack / "qemu.conf").read_text()
    assert conf == '#memory_backing_dir = "/x"\nuser = "qemu"\nmemory_backing_dir = "/var/lib/heca/ram"\n'


def test_hecad_takes_what_is_written(stack: Path) -> None:
    hecad = program("hecad")
    run(stack, "stack post-config", HECA_PEERS="m1=10.0.0.3:7300", HECA_DONATE="4GiB")
    command = [str(hecad), "--config", str(stack / "hecad.toml"), "--check-config"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_twice_is_once(stack: Path) -> None:
    run(stack, "stack post-config")
    (stack / "log").unlink()
    did = run(stack, "stack post-config", unmounted=0)
    assert not any("mount -t" in line for line in did)
    assert (stack / "qemu.conf").read_text().count("\nmemory_backing_dir") == 1


def test_what_is_installed_is_what_the_services_of_the_host_need(stack: Path) -> None:
    everywhere = ["pip_install /nova-plugin", "pip_install /nova-plugin/osc"]
    did = run(stack, "stack install", enabled="n-api")
    assert [line for line in did if line.startswith("pip_install")] == everywhere
    assert not any("tools/install --build" in line for line in did)
    (stack / "log").unlink()
    did = run(stack, "stack install")
    assert [line for line in did if line.startswith("pip_install")] == ["pip_install ", *everywhere]
    assert did.index("tools/build release hecad hecactl heca-hook heca-hook-tell") < did.index(
        f"sudo tools/install --build build/release --prefix {stack}"
    )


def test_a_host_without_nova_compute_is_left_as_it_is(stack: Path) -> None:
    assert run(stack, "stack post-config", enabled="n-api") == ["summary Configuring heca"]
    (stack / "log").unlink()
    assert run(stack, "clean", enabled="n-api") == []
    assert not (stack / "hecad.toml").exists()


def test_other_phases_do_nothing(stack: Path) -> None:
    for phase in ("stack pre-install", "stack extra", "stack test-config", "unstack"):
        assert run(stack, phase) == []


def test_clean_ends_servers_before_it_takes_hecad_away(stack: Path) -> None:
    did = run(stack, "clean", unmounted=0)
    assert did.index("sudo virsh destroy instance-1") < did.index("sudo systemctl disable --now hecad")
    assert "sudo virsh destroy other" not in did
    assert "sudo umount /var/lib/heca/ram" in did
    assert "\nmemory_backing_dir" not in (stack / "qemu.conf").read_text()


def test_a_configuration_that_hecad_refuses_ends_it(stack: Path) -> None:
    (stack / "sbin/hecad").write_text("#!/bin/sh\nexit 2\n")
    with pytest.raises(AssertionError):
        run(stack, "stack post-config")
    log = (stack / "log").read_text()
    assert "die" in log
    assert "systemctl restart hecad" not in log
