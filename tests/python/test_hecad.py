# SPDX-License-Identifier: LGPL-2.1-or-later
"""hecad as a program: what it refuses, with which words and exit code, and how it starts and stops."""

from __future__ import annotations

import os
import signal
import shutil
import socket
import tempfile
import subprocess
import sys
import tomllib
import urllib.request
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from programs import SECONDS, program  # noqa: E402


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "hecad.toml"
    path.write_text("")
    return path


def hecad(config: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program("hecad"), "-c", str(config), *args], capture_output=True, text=True, timeout=SECONDS)


def own(tmp_path: Path) -> list[str]:
    """Flags that keep a hecad to itself: only lending, everything under tmp_path, free ports."""
    return ["--compute", "off", "--donate", "4MiB", "--slab-size", "2MiB", "--run-dir", f"{tmp_path}/run",
            "--socket", f"{tmp_path}/hecad.sock", "--slab-dir", f"{tmp_path}/slabs", "--control-listen", "127.0.0.1:0",
            "--data-listen", "127.0.0.1:0", "--metrics-listen", "off"]


def test_bad_file_is_refused_line_by_line(config: Path) -> None:
    config.write_text('donnate = "8GiB"\nlease-seconds = 0\n')
    ran = hecad(config, "--check-config")
    assert ran.returncode == 2
    assert ran.stderr == (
        f"hecad: {config}:1: donnate: unknown key; did you mean 'donate'?\n"
        f"hecad: {config}:2: lease-seconds: '0' is not a number from 1 to 86400\n"
    )


def test_good_file_is_silent_and_printed_back(config: Path) -> None:
    config.write_text('donate = "8GiB"\n[[peer]]\nname = "m1"\naddress = "10.1.0.3:7300"\n')
    ran = hecad(config, "--check-config")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    printed = tomllib.loads(hecad(config, "--print-config", "--name", "c1").stdout)
    assert printed["donate"] == "8GiB" and printed["name"] == "c1"
    assert printed["peer"] == [{"name": "m1", "address": "10.1.0.3:7300"}]


def test_shipped_file_is_accepted() -> None:
    assert hecad(Path(__file__).resolve().parents[2] / "packaging/hecad.toml", "--check-config").returncode == 0


def test_busy_port(config: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        busy = f"127.0.0.1:{other.getsockname()[1]}"
        flags = own(tmp_path)
        flags[flags.index("--data-listen") + 1] = busy
        ran = hecad(config, *flags)
    assert ran.returncode == 3
    assert f"hecad: data-listen: {busy} is in use. See by whom: ss -ltnp" in ran.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give it up")
def test_missing_privilege(config: Path, tmp_path: Path) -> None:
    ran = subprocess.run(
        ["setpriv", "--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace", program("hecad"), "-c", str(config),
         "--run-dir", str(tmp_path)],
        capture_output=True, text=True, timeout=SECONDS)
    assert ran.returncode == 3
    assert "missing privilege: CAP_SYS_PTRACE (to take the userfaultfd of a VM). Run `systemctl" in ran.stderr


def test_unwritable_run_dir(config: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    flags = own(tmp_path)
    flags[flags.index("--run-dir") + 1] = f"{tmp_path}/file/run"
    ran = hecad(config, *flags)
    assert ran.returncode == 3
    assert f"run-dir: cannot make {tmp_path}/file/run: Not a directory" in ran.stderr


def test_starts_says_so_serves_and_stops(config: Path, tmp_path: Path) -> None:
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(SECONDS)
    with socket.create_server(("127.0.0.1", 0)) as free:
        metrics = f"127.0.0.1:{free.getsockname()[1]}"
    slabs = tempfile.mkdtemp(prefix="heca-test-", dir="/dev/shm")  # lent memory must be on a tmpfs
    flags = own(tmp_path)
    flags[flags.index("--metrics-listen") + 1] = metrics
    flags[flags.index("--slab-dir") + 1] = slabs
    process = subprocess.Popen([program("hecad"), "-c", str(config), *flags], stderr=subprocess.PIPE, text=True,
                               env=os.environ | {"NOTIFY_SOCKET": str(tmp_path / "notify")})
    assert process.stderr
    try:
        assert manager.recv(64) == b"READY=1"
        ctl = subprocess.run([program("hecactl"), "--socket", f"{tmp_path}/hecad.sock", "status"], capture_output=True,
                             text=True, timeout=SECONDS)
        assert ctl.returncode == 0, ctl.stderr
        assert "lends       4MiB" in ctl.stdout
        with urllib.request.urlopen(f"http://{metrics}/metrics", timeout=SECONDS) as page:
            assert b"heca_donated_bytes 4194304" in page.read()
        second = hecad(config, *own(tmp_path))
        assert second.returncode in (1, 3) and second.stderr
        process.send_signal(signal.SIGTERM)
        assert manager.recv(64) == b"STOPPING=1"
        assert process.wait(SECONDS) == 0, process.stderr.read()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(SECONDS)
        process.stderr.close()
        manager.close()
        shutil.rmtree(slabs)
