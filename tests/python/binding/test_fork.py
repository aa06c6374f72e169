# SPDX-License-Identifier: LGPL-2.1-or-later
"""A child that was forked after heca had been used refuses, in words, and ends; one that was forked before uses it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

from conftest import Fake

CHILD = """
import os, sys, threading, time, warnings, heca
warnings.simplefilter("ignore")

def refused(call):
    try:
        call()
    except heca.FailedPrecondition as error:
        assert "was forked from process" in str(error), error
        return
    raise SystemExit(f"{call} was not refused")

def in_a_child(body):
    pid = os.fork()
    if pid == 0:
        body()
        sys.exit(0)  # as a program ends: with atexit and all destructors
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            assert status == 0, status
            return
        time.sleep(0.01)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    raise SystemExit("the child hangs")
"""

AFTER = """
client = heca.Client(sys.argv[1])
operation, stream, waiting = client.attach(pid=7), client.events(follow=True), client.events(since=9, follow=True)
thread = threading.Thread(target=lambda: list(waiting), daemon=True)
thread.start()
next(stream)
time.sleep(0.3)

def child():
    refused(client.about)
    refused(lambda: client.attach(pid=8))
    refused(client.events)
    refused(operation.result)
    refused(lambda: next(operation))
    refused(lambda: next(stream))
    refused(lambda: heca.Client(sys.argv[1]).about())
    refused(lambda: heca.Node({"compute": False, "donate": "64MiB"}))
    operation.cancel()
    stream.close()
    waiting.close()
    client.close()

for _ in range(3):
    in_a_child(child)
assert client.about().name and not operation.done  # nothing of it has touched the parent
next(operation)
operation.cancel()
waiting.close()
print("well")
"""

BEFORE = """
client = heca.Client(sys.argv[1])  # no contact yet

def child():
    assert client.about().name
    assert heca.Client(sys.argv[1]).about().name

in_a_child(child)
in_a_child(child)
assert client.about().name
print("well")
"""


def test_after_the_first_call(fake: Callable[..., Fake], script: Callable[..., subprocess.Popen[str]]) -> None:
    out, err = script(CHILD + AFTER, fake("endless").socket).communicate(timeout=60)
    assert (out, err) == ("well\n", "")


def test_before_the_first_call(fake: Callable[..., Fake], script: Callable[..., subprocess.Popen[str]]) -> None:
    out, err = script(CHILD + BEFORE, fake().socket).communicate(timeout=60)
    assert (out, err) == ("well\n", "")
