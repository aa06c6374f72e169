# SPDX-License-Identifier: LGPL-2.1-or-later
"""Waits let other threads go on, and end at Ctrl-C and with the interpreter."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable

import heca
import pytest
from conftest import Fake
from lab.deadline import wait_until

WAITS = {
    "attach": "client.attach(pid=7).result()",
    "attach, its progress": "[None for _ in client.attach(pid=7)]",
    "attach, with an end": "client.attach(pid=7).result(timeout=60)",
    "attach, as a block": "client.attach(pid=7).__enter__().__exit__(None, None, None)",
    "events": "list(client.events(follow=True))",
}


class Spinner:
    """A thread that only computes: it goes on only while nobody sits on the GIL."""

    def __init__(self) -> None:
        self.turns = 0
        self._stop = False
        self._thread = threading.Thread(target=self._spin)

    def _spin(self) -> None:
        while not self._stop:
            self.turns += 1

    def __enter__(self) -> Spinner:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop = True
        self._thread.join(5)


def goes_on_during(what: Callable[[], object], seconds: float) -> None:
    with Spinner() as spinner:
        turns, began = spinner.turns, time.monotonic()
        what()
        assert time.monotonic() - began >= seconds
        assert spinner.turns - turns > 10_000 * seconds


def late(seconds: float, what: Callable[[], object]) -> None:
    timer = threading.Timer(seconds, what)
    timer.daemon = True
    timer.start()


def test_other_threads_go_on(fake: Callable[..., Fake]) -> None:
    with heca.Client(fake("steps=50").socket) as client:  # 10 ms each
        goes_on_during(lambda: client.attach(pid=7, region="vm1").result(), 0.5)
        goes_on_during(lambda: list(client.limit("vm1", "1GiB")), 0.5)
        goes_on_during(lambda: client.detach("vm1").result(), 0.5)
        stream = client.events(follow=True)
        late(0.5, stream.close)
        goes_on_during(lambda: list(stream), 0.4)


def test_other_threads_go_on_during_a_question(fake: Callable[..., Fake]) -> None:
    hecad = fake()
    hecad.stop_answering()
    with heca.Client(hecad.socket, timeout=0.5) as client:

        def ask() -> None:
            with pytest.raises(heca.DeadlineExceeded):
                client.about()

        goes_on_during(ask, 0.4)


INTERRUPTED = """
import sys, heca
client = heca.Client(sys.argv[1])
client.events().close()
print("waits", flush=True)
try:
    {wait}
except KeyboardInterrupt:
    print("interrupted", flush=True)
    client.close()
"""


def interrupt(process: subprocess.Popen[str]) -> None:
    """SIGINT once it waits; it has to say so within a second, and to end well."""
    assert process.stdout is not None
    assert process.stdout.readline() == "waits\n"
    time.sleep(0.3)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "interrupted\n", process.stderr
    assert time.monotonic() - began < 1
    assert process.wait(5) == 0


@pytest.mark.parametrize("wait", WAITS)
def test_ctrl_c(fake: Callable[..., Fake], script: Callable[..., subprocess.Popen[str]], wait: str) -> None:
    hecad = fake("endless")
    interrupt(script(INTERRUPTED.format(wait=WAITS[wait]), hecad.socket))
    with heca.Client(hecad.socket) as client:
        if wait != "events":
            wait_until(lambda: any(event.text == "cancelled" for event in client.events()), 2, "cancelled at hecad")


def test_ctrl_c_during_a_question(fake: Callable[..., Fake], script: Callable[..., subprocess.Popen[str]]) -> None:
    """Of a hecad that is stopped: nothing else would end it for 30 s."""
    hecad = fake()
    hecad.stop_answering()
    interrupt(script(INTERRUPTED.format(wait="client.about()").replace("client.events().close()\n", ""), hecad.socket))


ENDS = {
    "a daemon thread follows events": """
threading.Thread(target=lambda: list(client.events(follow=True)), daemon=True).start()
time.sleep(0.3)
""",
    "a daemon thread asks": """
os.kill(int(sys.argv[2]), signal.SIGSTOP)
threading.Thread(target=client.about, daemon=True).start()
time.sleep(0.3)
""",
    "an operation is under way": "operation = client.attach(pid=7)",
    "an operation is waited for": """
threading.Thread(target=client.attach(pid=7).result, daemon=True).start()
time.sleep(0.3)
""",
    "a stream is open": "stream = client.events(follow=True); next(stream)",
    "nothing": "client.about()",
}


@pytest.mark.parametrize("what", ENDS)
def test_the_interpreter_ends_while(
    fake: Callable[..., Fake], script: Callable[..., subprocess.Popen[str]], what: str
) -> None:
    hecad = fake("endless")
    process = script(
        "import os, signal, sys, threading, time, warnings, heca\n"
        "warnings.simplefilter('ignore')\n"
        "threading.excepthook = lambda _: None\n"
        f"client = heca.Client(sys.argv[1])\n{ENDS[what]}\nprint('ends', flush=True)",
        hecad.socket,
        hecad.process.pid,
    )
    out, err = process.communicate(timeout=20)
    assert (out, err, process.returncode) == ("ends\n", "", 0)


def test_two_seconds_are_enough_to_end(fake: Callable[..., Fake], script: Callable[..., subprocess.Popen[str]]) -> None:
    hecad = fake("endless")
    began = time.monotonic()
    process = script("import sys, heca; o = heca.Client(sys.argv[1]).attach(pid=7); o.cancel()", hecad.socket)
    assert process.wait(10) == 0
    assert time.monotonic() - began < 4
