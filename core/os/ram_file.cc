// SPDX-License-Identifier: LGPL-2.1-or-later
#include "os/ram_file.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/magic.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/check.h"

namespace heca::os {

Result<RamFile> RamFile::Create(unique_fd fd) {
  struct statfs info{};
  if (::fstatfs(fd.get(), &info) != 0) return Status::FromErrno(errno, "fstatfs of the RAM file", ErrorScope::kRegion);
  if (info.f_type == TMPFS_MAGIC) return RamFile(std::move(fd), kBasePage);
  if (info.f_type == HUGETLBFS_MAGIC) return RamFile(std::move(fd), Bytes(static_cast<std::uint64_t>(info.f_bsize)));
  return Status(ErrorCode::kFailedPrecondition,
                "the RAM file is neither on tmpfs nor on hugetlbfs: put it on /dev/shm or a hugetlbfs mount",
                ErrorScope::kRegion);
}

Result<FileExtent> RamFile::NextData(FileOffset from, FileOffset end) const {
  const FileExtent none{end, end};
  if (from >= end) return none;
  const off_t data = ::lseek(fd_.get(), static_cast<off_t>(from.value()), SEEK_DATA);
  if (data < 0) {
    if (errno == ENXIO) return none;
    return Status::FromErrno(errno, "SEEK_DATA in the RAM file", ErrorScope::kRegion);
  }
  if (static_cast<std::uint64_t>(data) >= end.value()) return none;
  // Not SEEK_HOLE: the kernel walks over the whole run to find its end, however far that is, and a guest's memory may be
  // one run of millions of pages. SEEK_DATA at a page that is there answers at once.
  const auto start = static_cast<std::uint64_t>(data);
  const std::uint64_t most = std::min(end.value(), start + kLongestRun * page_size_.value());
  std::uint64_t stop = start + page_size_.value();
  while (stop < most && ::lseek(fd_.get(), static_cast<off_t>(stop), SEEK_DATA) == static_cast<off_t>(stop)) {
    stop += page_size_.value();
  }
  return FileExtent{FileOffset(start), FileOffset(stop)};
}

Status RamFile::ReadAt(FileOffset at, std::span<std::byte> out) const {
  std::size_t got = 0;
  while (got < out.size()) {
    const ssize_t n = ::pread(fd_.get(), out.data() + got, out.size() - got, static_cast<off_t>(at.value() + got));
    if (n > 0) {
      got += static_cast<std::size_t>(n);
    } else if (n == 0) {
      return Status(ErrorCode::kInternal, "the RAM file is shorter than its region", ErrorScope::kRegion);
    } else if (errno != EINTR) {
      return Status::FromErrno(errno, "pread of the RAM file", ErrorScope::kRegion);
    }
  }
  return Status();
}

Status RamFile::Punch(FileOffset at, Bytes length) const {
  HECA_CHECK(at.value() % page_size_.value() == 0 && length.value() % page_size_.value() == 0);
  int result = 0;
  do {
    result = ::fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(at.value()),
                         static_cast<off_t>(length.value()));
  } while (result != 0 && errno == EINTR);
  if (result == 0) return Status();
  return Status::FromErrno(errno, "PUNCH_HOLE in the RAM file", ErrorScope::kRegion);
}

}  // namespace heca::os
