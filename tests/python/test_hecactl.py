# SPDX-License-Identifier: LGPL-2.1-or-later
"""hecactl as a program: exit codes, pipes, terminals and signals, over a socket to a fake hecad."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from programs import SECONDS, fake_hecad, program  # noqa: E402


def command(socket: Path, *args: str) -> list[str]:
    return [program("hecactl"), "--socket", str(socket), *args]


def hecactl(socket: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(socket, *args), capture_output=True, text=True, timeout=SECONDS)


def on_terminal(socket: Path, *args: str) -> tuple[int, str]:
    """Runs hecactl with a terminal of 100 columns as its standard error and output."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(program("hecactl"), command(socket, *args))
    text = b""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        if not select.select([fd], [], [], 0.5)[0]:
            continue
        try:
            part = os.read(fd, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        text += part
    _, status = os.waitpid(pid, 0)
    os.close(fd)
    return os.waitstatus_to_exitcode(status), text.decode()


@pytest.fixture
def socket(tmp_path: Path) -> Path:
    return tmp_path / "hecad.sock"


def test_every_question_in_words_and_as_json(socket: Path) -> None:
    with fake_hecad(socket):
        assert hecactl(socket, "attach", "--pid", "7", "--name", "vm1", "--local", "256MiB").returncode == 0
        for verb, key in [("status", "node"), ("nodes", "nodes"), ("regions", "regions"), ("leases", "leases"),
                          ("version", "hecad")]:
            words = hecactl(socket, verb)
            assert words.returncode == 0, words.stderr
            assert words.stdout and words.stderr == ""
            assert key in json.loads(hecactl(socket, verb, "--json").stdout)
        doctor = json.loads(hecactl(socket, "doctor", "--json").stdout)
        assert doctor["hecad_running"] is True
        assert doctor["checks"][0] == {"name": "kernel", "verdict": "ok", "what": "as told by hecad", "remedy": ""}
        assert "vm1 vm-stopped" in hecactl(socket, "events").stdout
        top = json.loads(hecactl(socket, "top", "--interval", "0.1", "--json").stdout)
        assert top["regions"][0]["name"] == "vm1"
        limit = json.loads(hecactl(socket, "limit", "vm1", "512MiB", "--json").stdout)
        assert limit["region"]["limit_bytes"] == 512 << 20
        assert hecactl(socket, "detach", "vm1").returncode == 0
        assert hecactl(socket, "leases", "free", "7", "--force").returncode == 0


def test_a_transport_is_one_of_three_words(socket: Path) -> None:
    with fake_hecad(socket):
        for way in ("auto", "tcp", "rdma"):
            assert hecactl(socket, "attach", "--pid", "7", "--name", way, "--transport", way).returncode == 0
        wrong = hecactl(socket, "attach", "--pid", "7", "--transport", "ib")
        assert wrong.returncode == 2 and "--transport" in wrong.stderr
    assert "--transport auto|tcp|rdma" in hecactl(socket, "attach", "--help").stdout
    script = hecactl(socket, "completion", "bash").stdout
    assert re.search(r"attach\) words=.*--transport", script) and '"auto tcp rdma"' in script


def test_unreachable(socket: Path) -> None:
    ran = hecactl(socket, "status")
    assert ran.returncode == 3
    assert ran.stderr.startswith("hecactl: status: ") and str(socket) in ran.stderr
    ran = hecactl(socket, "regions", "--json")
    assert json.loads(ran.stdout)["error"]["exit_code"] == 3
    assert json.loads(hecactl(socket, "doctor", "--json").stdout)["checks"][0]["name"] == "hecad"


@pytest.mark.parametrize(("code", "exit_code"), [(1, 2), (2, 4), (4, 4), (5, 4), (6, 1), (7, 5), (11, 1), (12, 4)])
def test_exit_code_follows_the_error(socket: Path, code: int, exit_code: int) -> None:
    with fake_hecad(socket, f"fail={code}"):
        ran = hecactl(socket, "attach", "--domain", "x")
        assert ran.returncode == exit_code
        assert ran.stderr == "hecactl: attach: VM 'x' cannot be governed: do this first\n"


def test_progress_in_a_pipe_is_plain_lines(socket: Path) -> None:
    with fake_hecad(socket, "steps=30"):
        ran = hecactl(socket, "attach", "--pid", "7")
        assert ran.returncode == 0, ran.stderr
        assert "\r" not in ran.stderr and "\033" not in ran.stderr
        lines = ran.stderr.splitlines()
        assert lines[0].startswith("attach: write-back: 1MiB of 30MiB (3%)")
        assert lines[-1].startswith("attach: write-back: 30MiB of 30MiB (100%)")
        assert len(lines) < 10
        assert "write-back" not in ran.stdout
        assert hecactl(socket, "attach", "--pid", "8", "--json").stderr == ""


def test_progress_on_a_terminal_is_a_bar(socket: Path) -> None:
    with fake_hecad(socket, "steps=60"):
        code, text = on_terminal(socket, "attach", "--pid", "7")
        assert code == 0, text
        draws = text.split("\r")
        bars = [draw for draw in draws if re.match(r"write-back \[#*-*\] +\d+%", draw)]
        assert len(bars) >= 3
        assert any("/s" in bar and "left" in bar for bar in bars)
        assert all(len(re.sub("\033.*", "", bar, flags=re.DOTALL)) < 80 for bar in bars)
        assert "100%" in bars[-1]
        # The last bar is wiped and the result stands alone on its line.
        assert "\r\033[Kregion pid-7: active" in text


def test_interrupt_and_timeout_of_a_long_operation(socket: Path) -> None:
    with fake_hecad(socket, "endless"):
        ran = hecactl(socket, "attach", "--pid", "7", "--timeout", "0.3")
        assert ran.returncode == 5
        assert "hecactl: attach: not done within 300ms; it was undone" in ran.stderr
        process = subprocess.Popen(command(socket, "attach", "--pid", "7"), stderr=subprocess.PIPE, text=True)
        assert process.stderr
        assert process.stderr.readline().startswith("attach: capture")  # so it is under way
        process.send_signal(signal.SIGINT)
        process.stderr.read()
        process.stderr.close()
        assert process.wait(SECONDS) == 130


def test_migrate_in_words_and_as_json(socket: Path) -> None:
    with fake_hecad(socket, "steps=5"):
        qemu = ["--pid", "7", "--qmp", "/run/q"]
        words = hecactl(socket, "migrate", *qemu, "m2", "--mode", "pre-copy")
        assert words.returncode == 0, words.stderr
        assert words.stdout == (
            "region pid-7: moved to m2, pre-copy\n"
            "  total       12.3s\n"
            "  downtime    48ms\n"
            "  ahead       240MiB in 3 rounds\n"
            "  memory      1GiB\n"
            "  moved       256MiB (25%)\n"
            "  zero        768MiB (75%)\n"
            "  faults      1234, each waited 120us (p50), 900us (p99), all threads together 15ms\n"
            "  blocked     vCPUs 8ms, 4.5ms; all of them at once 3ms; other threads 2.5ms\n"
        )
        assert words.stderr.splitlines()[-1].startswith("migrate: write-back: 5MiB of 5MiB (100%)")
        there = ["--dest-pid", "8", "--dest-qmp", "/run/q2", "--uri", "tcp:10.1.0.4:4444"]
        ran = hecactl(socket, "migrate", "--pid", "7", "--qmp", "/run/q", "10.1.0.4:7301", *there, "--json")
        assert ran.returncode == 0 and ran.stderr == ""
        document = json.loads(ran.stdout)
        assert document["destination"] == "10.1.0.4:7301"
        assert document["migration"]["region"] == "pid-7"
        assert document["migration"]["moved_bytes"] == 256 << 20
        code, text = on_terminal(socket, "migrate", *qemu, "m2")
        assert code == 0 and "\r\033[Kregion pid-7: moved to m2, post-copy" in text
        # What hecad checks, hecactl passes on.
        there[-1] = "exec:true"
        ran = hecactl(socket, "migrate", "--pid", "7", "--qmp", "/run/q", "m2", *there)
        assert ran.returncode == 2
        assert ran.stderr.startswith("hecactl: migrate: migration URI 'exec:true': must be ")


def test_interrupt_of_a_migration(socket: Path) -> None:
    with fake_hecad(socket, "endless"):
        words = command(socket, "migrate", "--pid", "7", "--qmp", "/run/q", "m2")
        process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        assert process.stderr
        assert process.stderr.readline().startswith("migrate: capture")  # so it is under way
        process.send_signal(signal.SIGINT)
        assert "hecactl: migrate: cancelled; " in process.stderr.read()
        process.stderr.close()
        assert process.wait(SECONDS) == 130


def test_follow_ends_with_the_interrupt(socket: Path) -> None:
    with fake_hecad(socket):
        process = subprocess.Popen(command(socket, "events", "--follow", "--json"), stdout=subprocess.PIPE, text=True)
        assert process.stdout
        assert json.loads(process.stdout.readline())["kind"] == "vm-stopped"
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == ""
        process.stdout.close()
        assert process.wait(SECONDS) == 0


def test_top_on_a_terminal_redraws(socket: Path) -> None:
    with fake_hecad(socket):
        code, text = on_terminal(socket, "top", "--interval", "0.1", "--count", "3")
        assert code == 0
        assert text.count("\033[H\033[J") == 3


def test_full_disk_is_no_success(socket: Path) -> None:
    with fake_hecad(socket), open("/dev/full", "w") as full:
        ran = subprocess.run(command(socket, "status"), stdout=full, stderr=subprocess.PIPE, timeout=SECONDS)
        assert ran.returncode == 1


def test_bash_completion(socket: Path) -> None:
    printed = subprocess.run([program("hecactl"), "completion", "bash"], capture_output=True, text=True, check=True)

    def complete(*words: str) -> list[str]:
        line = " ".join(f"'{word}'" for word in words)
        ask = f"COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _hecactl; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        ask = f"{printed.stdout}\n{ask}"
        ran = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, timeout=SECONDS)
        assert ran.stderr == ""
        return ran.stdout.split()

    assert complete("hecactl", "de") == ["detach"]
    assert complete("hecactl", "attach", "--r") == ["--ratio"]
    assert complete("hecactl", "--socket", "/x", "events", "--fo") == ["--follow"]
    assert complete("hecactl", "leases", "f") == ["free"]
    assert complete("hecactl", "attach", "--on-loss", "p") == ["poison"]
    assert complete("hecactl", "migrate", "--dest") == ["--dest-uri", "--dest-pid", "--dest-qmp"]
    assert complete("hecactl", "migrate", "vm1", "m2", "--no-p") == ["--no-persistent"]
    assert complete("hecactl", "migrate", "--pid", "7", "m2", "--mode", "h") == ["hybrid"]
    assert complete("hecactl", "res") == ["resolve"]
    assert complete("hecactl", "resolve", "vm1", "--lost", "z") == ["zero"]
    assert complete("hecactl", "xml", "--ch") == ["--check"]
    assert complete("hecactl", "xml", "--migration", "h") == ["hybrid"]
    assert complete("hecactl", "xml", "/etc/hostn") == ["/etc/hostname"]


def test_the_completion_that_is_installed_is_printed_by_the_program(tmp_path: Path) -> None:
    build = Path(program("hecactl")).parent
    subprocess.run(["cmake", "--install", str(build), "--prefix", str(tmp_path), "--component", "completion"],
                   capture_output=True, check=True, timeout=SECONDS)
    printed = subprocess.run([program("hecactl"), "completion", "bash"], capture_output=True, text=True, check=True)
    installed = tmp_path / "share/bash-completion/completions/hecactl"
    assert installed.read_text() == printed.stdout
