# SPDX-License-Identifier: Apache-2.0
"""Under eventlet a call of hecad's must not stop the rest of nova-compute. In a process of its own: monkey patching is
for a whole process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN = Path(__file__).resolve().parents[2]

PROGRAM = """
from nova import monkey_patch
if hasattr(monkey_patch, "patch"):  # before, the import has done it
    monkey_patch.patch()
import eventlet
import time
import types
from eventlet import patcher
from nova.virt.libvirt.host import Host
from heca_nova import compat
from heca_nova.hecad import Hecad
from heca_nova.testing.fake_heca import FakeHeca, FakeClient
native = patcher.original("time")
ticks = []
def tick():
    while True:
        ticks.append(1)
        eventlet.sleep(0.01)
eventlet.spawn(tick)
class Device:
    def listCaps(self):
        native.sleep(0.5)
host = Host("qemu:///system")
host.get_connection = lambda: types.SimpleNamespace(listAllDevices=lambda flags: [Device()])
compat.ask_devices_in_native_threads(host)
for device in host.list_all_devices(flags=2):
    device.listCaps()
assert len(ticks) > 10, len(ticks)
ticks.clear()
# as the binding does: blocks its thread of the operating system
FakeClient.about = lambda self: native.sleep(0.5)
node = FakeHeca()
hecad = Hecad("/s", 1.0, node)
hecad.ping()
assert len(ticks) > 10, len(ticks)
node.away = True
try:
    hecad.nodes()
except Exception as error:
    assert type(error).__name__ == "HecadAway", error
else:
    raise AssertionError
done = []
compat.in_background("x", lambda: done.append(1))
eventlet.sleep(0.05)
assert done
print("fine")
"""


@pytest.mark.timeout(240)  # Nova is imported anew
def test_others_go_on_while_hecad_is_asked() -> None:
    pytest.importorskip("eventlet", reason="this Nova runs native threads only")
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=180, cwd=PLUGIN)
    assert done.stdout == "fine\n", done.stderr
