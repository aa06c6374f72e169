# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from heca_osc.sizes import MIB, Ratio, format_size, parse_mib, parse_ratio
from heca_osc.specs import split


@pytest.mark.parametrize(
    ("text", "mib"),
    [
        ("2048", 2048), ("2GiB", 2048), ("2G", 2048), ("2gib", 2048), ("512M", 512), ("512 MiB", 512), ("1.5GiB", 1536),
        ("1TiB", 1048576), ("1048576KiB", 1024), ("2097152B", 2), ("0.5GiB", 512),
    ],
)  # fmt: skip
def test_a_size_is_read(text: str, mib: int) -> None:
    assert parse_mib(text) == mib


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is not a size"), ("-1", "is not a size"), ("2GiB2", "is not a size"), ("1.5.5G", "is not a size"),
        ("2GB", "1000 for some"), ("2XiB", "unknown unit"), ("1025KiB", "whole number of MiB"),
        ("1.1MiB", "whole number of MiB"), ("0", "some memory has to be"), ("0GiB", "some memory has to be"),
    ],
)  # fmt: skip
def test_what_is_no_size_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_mib(text)


@pytest.mark.parametrize("text", ["", "1", "1:0", "0:1", "1:1001", "1:3:4", "a:b", "-1:3", "1: 3", "1.5:3"])
def test_what_is_no_ratio_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write it like 1:3"):
        parse_ratio(text)


def test_a_ratio_is_read_and_written() -> None:
    assert parse_ratio("1:3") == Ratio(1, 3)
    assert str(parse_ratio("1000:1")) == "1000:1"


def test_the_local_part_is_rounded_up_and_both_are_all_of_it() -> None:
    assert split(2048, Ratio(1, 3)) == split(2048, Ratio(2, 6))
    for ram in range(2, 400):
        for ratio in (Ratio(1, 3), Ratio(2, 5), Ratio(1, 1), Ratio(1, 1000), Ratio(7, 3)):
            if ratio.local_mib(ram) == ram:
                continue
            parts = split(ram, ratio)
            assert parts.local_mib + parts.remote_mib == ram
            # The smallest whole MiB that is not less than the exact part.
            whole = ratio.local + ratio.remote
            assert (parts.local_mib - 1) * whole < ram * ratio.local <= parts.local_mib * whole


def test_a_split_that_leaves_nothing_remote_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to go elsewhere"):
        split(1, Ratio(1, 3))
    with pytest.raises(ValueError, match="nothing to go elsewhere"):
        split(100, Ratio(1000, 1))


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0B"), (1023, "1023B"), (1024, "1KiB"), (1536 * MIB, "1.5GiB"), (512 * MIB, "512MiB"), (2**40, "1TiB"),
     (2**30 - 1, "1GiB"), (2**50, "1024TiB")],
)  # fmt: skip
def test_sizes_are_shown(size: int, text: str) -> None:
    assert format_size(size) == text
