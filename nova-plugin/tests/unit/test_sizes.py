# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from heca_nova import sizes


@pytest.mark.parametrize(("text", "size"), [("4096", 4096), ("4096B", 4096), ("64M", 64 << 20), ("512MiB", 512 << 20),
                                            ("1.5GiB", 3 << 29), ("2 gib", 2 << 30), ("1T", 1 << 40)])
def test_sizes_are_read_as_the_core_reads_them(text: str, size: int) -> None:
    assert sizes.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "2MB", "2GB", "x", "-1", "1.GiB", "1.0000001G", "0.3", "1.1.1", "99999999T",
                                  "\u0661G"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a|too large"):
        sizes.parse_size(text)


@pytest.mark.parametrize(("size", "text"), [(0, "0"), (4097, "4097"), (1536 << 20, "1536MiB"), (2 << 30, "2GiB"),
                                            (1 << 50, "1024TiB")])
def test_format_loses_nothing(size: int, text: str) -> None:
    assert sizes.format_size(size) == text
    assert sizes.parse_size(text) == size


@pytest.mark.parametrize("text", ["1:3", "1000:1", "7:1000"])
def test_ratios(text: str) -> None:
    assert ":".join(map(str, sizes.parse_ratio(text))) == text


@pytest.mark.parametrize("text", ["", "1", "0:3", "1:0", "1:1001", "01:3", "1:3:5", "a:b", " 1:3", "1:3\n"])
def test_what_is_no_ratio_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a ratio"):
        sizes.parse_ratio(text)


def test_the_local_part_is_rounded_up_and_never_more_than_all() -> None:
    assert sizes.local_part((1, 3), 512 << 20, sizes.MIB) == 128 << 20
    assert sizes.local_part((1, 2), 512 << 20, sizes.MIB) == 171 << 20
    assert sizes.local_part((1000, 1), 1 << 20, sizes.MIB) == 1 << 20
