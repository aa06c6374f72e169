# SPDX-License-Identifier: LGPL-2.1-or-later
"""`hecactl xml` as a program, on the samples of tests/data/domains; libvirt's schema judges what it prints."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from programs import ROOT, SECONDS, program  # noqa: E402

SAMPLES = sorted((ROOT / "tests/data/domains").glob("*.xml"))
NOBODY = "/nonexistent/hecad.sock"  # no hecad is needed


def xml(text: str, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program("hecactl"), "--socket", NOBODY, "xml", *args], input=text, capture_output=True,
                          text=True, timeout=SECONDS)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_ready_xml_is_valid_and_stays(sample: Path, tmp_path: Path) -> None:
    ready = xml("", "--ratio", "1:3", "--replicas", "2", "--migration", "post-copy", str(sample))
    assert ready.returncode == 0, ready.stderr
    assert xml(ready.stdout).stdout == ready.stdout
    check = xml(ready.stdout, "--check")
    assert check.returncode == 0 and check.stdout.splitlines()[0].endswith(": ready")
    if not shutil.which("virt-xml-validate") or not shutil.which("xmllint"):
        pytest.skip("virt-xml-validate (libvirt-clients, libxml2-utils) is not installed")
    file = tmp_path / "ready.xml"
    for text in (sample.read_text(), ready.stdout):  # a sample that is not valid would prove nothing
        file.write_text(text)
        judged = subprocess.run(["virt-xml-validate", str(file), "domain"], capture_output=True, text=True,
                                timeout=SECONDS)
        assert judged.returncode == 0, judged.stdout + judged.stderr


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_check_names_the_changes(sample: Path) -> None:
    text = sample.read_text()
    words = xml(text, "--check", "--local", "1GiB")
    assert words.returncode == 1 and words.stderr == ""
    assert re.match(r"domain \S+: not ready; hecactl xml changes this:\nmetadata: ", words.stdout)
    plan = json.loads(xml(text, "--check", "--local", "1GiB", "--json").stdout)
    assert not plan["ready"] and not plan["refusals"]
    lines = [f"{change['name']}: {change['what']}" for change in plan["changes"]]
    assert words.stdout.splitlines()[1:] == lines + [f"note: {note}" for note in plan["notes"]]


def test_refusals_and_errors_leave_standard_output_alone() -> None:
    text = SAMPLES[0].read_text()
    refused = xml(text.replace("<devices>", "<devices><interface type='vdpa'/>"))
    assert refused.returncode == 4 and refused.stdout == ""
    assert "vhost-vdpa: <interface type='vdpa'>; remedy: " in refused.stderr
    broken = xml(text[: len(text) // 2])
    assert broken.returncode == 2 and broken.stdout == ""
    assert re.match(r"hecactl: xml: line \d+: this is no XML: ", broken.stderr)
    error = json.loads(xml("<network/>", "--json").stdout)["error"]
    assert error["code"] == "INVALID_ARGUMENT" and error["exit_code"] == 2
