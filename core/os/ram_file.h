// SPDX-License-Identifier: LGPL-2.1-or-later
// The file behind a guest's RAM, on tmpfs or hugetlbfs: the truth about which pages are here.
//
// It is never mapped: touching an absent page through a mapping of our own would create a zero page in the guest.
// pread, SEEK_DATA and PUNCH_HOLE never allocate (measured; hugetlbfs can be read with pread as well).
#pragma once

#include <cstdint>
#include <span>

#include "base/unique_fd.h"
#include "heca/status.h"
#include "heca/types.h"

namespace heca::os {

/// A place in a RAM file.
using FileOffset = Strong<struct FileOffsetTag, std::uint64_t>;

struct FileExtent {
  FileOffset start;
  FileOffset end;
};

/// Thread-safe: holds a descriptor and what fstatfs said of it.
class RamFile {
 public:
  /// Refuses what is neither tmpfs nor hugetlbfs, with the remedy.
  static Result<RamFile> Create(unique_fd fd);

  [[nodiscard]] int fd() const { return fd_.get(); }
  /// 4 KiB on tmpfs, the huge page size on hugetlbfs.
  [[nodiscard]] Bytes page_size() const { return page_size_; }
  /// False on hugetlbfs: SEEK_DATA says "data" everywhere there.
  [[nodiscard]] bool knows_holes() const { return page_size_ == kBasePage; }

  /// The first run of present pages in [from, end), clipped to it and to kLongestRun pages (ask again from its end for
  /// more); empty (start == end) if there is none. The cost does not depend on how long the run really is: some 0.3 us a
  /// page told. tmpfs only. Pages that are swapped out count as present.
  static constexpr std::uint64_t kLongestRun = 64;
  [[nodiscard]] Result<FileExtent> NextData(FileOffset from, FileOffset end) const;
  /// Fills `out` completely or fails; holes read as zeros and stay holes.
  [[nodiscard]] Status ReadAt(FileOffset at, std::span<std::byte> out) const;
  /// Frees whole pages. `at` and `length` must be multiples of page_size(): a part of a huge page would be zeroed
  /// silently.
  [[nodiscard]] Status Punch(FileOffset at, Bytes length) const;

 private:
  RamFile(unique_fd fd, Bytes page_size) : fd_(std::move(fd)), page_size_(page_size) {}
  unique_fd fd_;
  Bytes page_size_;
};

}  // namespace heca::os
