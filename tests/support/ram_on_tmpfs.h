// SPDX-License-Identifier: LGPL-2.1-or-later
// A VM's RAM file without a VM, as libvirt makes them: in a directory of its own on tmpfs.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <system_error>

#include "base/unique_fd.h"
#include "os/ram_file.h"
#include "store/ram_image.h"

namespace heca::testing {

/// Removed with its directory. One thread at a time.
class RamOnTmpfs {
 public:
  explicit RamOnTmpfs(std::uint64_t pages) {
    EXPECT_NE(::mkdtemp(directory_.data()), nullptr);
    fd_ = unique_fd(::open(path().c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    EXPECT_EQ(::ftruncate(fd_.get(), static_cast<off_t>(pages * kBasePage.value())), 0);
  }
  ~RamOnTmpfs() { Remove(); }
  RamOnTmpfs(const RamOnTmpfs&) = delete;
  RamOnTmpfs& operator=(const RamOnTmpfs&) = delete;

  [[nodiscard]] std::string path() const { return directory_ + "/ram"; }
  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] std::uint64_t inode() const { return Info().st_ino; }
  [[nodiscard]] std::uint64_t names() const { return Info().st_nlink; }
  [[nodiscard]] std::uint64_t PagesHeld() const {
    return static_cast<std::uint64_t>(Info().st_blocks) * 512 / kBasePage.value();
  }
  void Fill(std::uint64_t page, char with) const {
    const std::string bytes(kBasePage.value(), with);
    EXPECT_EQ(::pwrite(fd_.get(), bytes.data(), bytes.size(), static_cast<off_t>(page * bytes.size())),
              static_cast<ssize_t>(bytes.size()));
  }
  [[nodiscard]] store::ImageBlock Block(std::uint64_t first, std::uint64_t pages) const {
    return {os::RamFile::Create(unique_fd(::dup(fd_.get()))).value(), os::FileOffset(first * kBasePage.value()),
            Bytes(pages * kBasePage.value())};
  }
  /// As libvirt does at the end of a VM: the directory, too.
  void Remove() const {
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }
  /// Only what others have opened or linked is left of it.
  void Close() { fd_.reset(); }

 private:
  [[nodiscard]] struct stat Info() const {
    struct stat info {};
    EXPECT_EQ(::fstat(fd_.get(), &info), 0);
    return info;
  }

  std::string directory_ = "/dev/shm/heca-ram-XXXXXX";
  unique_fd fd_;
};

}  // namespace heca::testing
