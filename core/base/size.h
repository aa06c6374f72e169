// SPDX-License-Identifier: LGPL-2.1-or-later
// Sizes and ratios as people write them: "2GiB", "64MiB", "512M", "4096", "1:3". One parser for the
// configuration file, the flags and the command line; one printer for tables. Pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "heca/status.h"
#include "heca/types.h"

namespace heca {

/// A number with an optional unit: none or B (bytes), K/KiB, M/MiB, G/GiB, T/TiB, in powers of 1024, in any
/// case. A decimal fraction is taken where it comes out as whole bytes ("1.5GiB"). "MB" is refused, since it
/// means two different things. Fails with kInvalidArgument and the accepted forms.
[[nodiscard]] Result<Bytes> ParseSize(std::string_view text);

/// For tables: the largest unit that leaves a number of at least 1, with at most one decimal: "2GiB",
/// "1.5GiB", "96B".
[[nodiscard]] std::string FormatSize(Bytes size);
/// For files and messages that are read back: the largest unit that loses nothing: "1536MiB", "4097".
[[nodiscard]] std::string FormatSizeExact(Bytes size);

/// local : remote parts of a VM's memory.
struct Ratio {
  std::uint32_t local = 0;
  std::uint32_t remote = 0;
  bool operator==(const Ratio&) const = default;
};

/// "1:3", whole numbers from 1 to 1000.
[[nodiscard]] Result<Ratio> ParseRatio(std::string_view text);
/// The local part of `total`, rounded up to a whole `unit` (a page size).
[[nodiscard]] Bytes LocalPart(Ratio ratio, Bytes total, Bytes unit);

}  // namespace heca
