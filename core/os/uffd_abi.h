// SPDX-License-Identifier: LGPL-2.1-or-later
// Parts of the userfaultfd interface that are younger than the headers of Debian 12 (Linux 6.1), as the kernel's
// include/uapi/linux/userfaultfd.h defines them. Used by os/ alone.
#pragma once

#include <linux/userfaultfd.h>
#include <sys/ioctl.h>

#include <cstdint>

namespace heca::os::abi {

inline constexpr std::uint64_t kFeatureWpUnpopulated = std::uint64_t{1} << 13;  // Linux 6.4
inline constexpr std::uint64_t kFeaturePoison = std::uint64_t{1} << 14;   // Linux 6.6
inline constexpr std::uint64_t kFeatureWpAsync = std::uint64_t{1} << 15;  // Linux 6.7
inline constexpr std::uint64_t kContinueModeWp = std::uint64_t{1} << 1;   // Linux 6.4

struct PoisonArgument {
  std::uint64_t start;
  std::uint64_t length;
  std::uint64_t mode;
  std::int64_t updated;
};
static_assert(sizeof(PoisonArgument) == 32);

inline constexpr unsigned long kIocPoison = _IOWR(UFFDIO, 0x08, PoisonArgument);
inline constexpr unsigned long kIocNew = _IO(0xAA, 0x00);  // on /dev/userfaultfd, Linux 6.1

}  // namespace heca::os::abi
