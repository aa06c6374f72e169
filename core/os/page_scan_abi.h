// SPDX-License-Identifier: LGPL-2.1-or-later
// PAGEMAP_SCAN (Linux 6.7), which the headers of Debian 12 lack, as the kernel's include/uapi/linux/fs.h defines it.
// Used by os/ alone.
#pragma once

#include <sys/ioctl.h>

#include <cstdint>

namespace heca::os::abi {

inline constexpr std::uint64_t kPageIsWritten = std::uint64_t{1} << 1;
inline constexpr std::uint64_t kScanWpMatching = std::uint64_t{1} << 0;    // arm what matches
inline constexpr std::uint64_t kScanCheckWpAsync = std::uint64_t{1} << 1;  // EPERM where nothing is tracked

struct PageRegion {
  std::uint64_t start;
  std::uint64_t end;
  std::uint64_t categories;
};

struct ScanArgument {
  std::uint64_t size;
  std::uint64_t flags;
  std::uint64_t start;
  std::uint64_t end;
  std::uint64_t walk_end;
  std::uint64_t vec;
  std::uint64_t vec_len;
  std::uint64_t max_pages;
  std::uint64_t category_inverted;
  std::uint64_t category_mask;
  std::uint64_t category_anyof_mask;
  std::uint64_t return_mask;
};
static_assert(sizeof(ScanArgument) == 96);

inline constexpr unsigned long kIocPageScan = _IOWR('f', 16, ScanArgument);

}  // namespace heca::os::abi
