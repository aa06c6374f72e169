// SPDX-License-Identifier: LGPL-2.1-or-later
#include "store/slab.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/unique_fd.h"

namespace heca::store {
namespace {

static_assert(std::atomic<std::uint8_t>::is_always_lock_free && sizeof(std::atomic<std::uint8_t>) == 1,
              "the marks in the file are an array of atomics");

Status Allocate(int fd, const std::string& path, Bytes bytes, Backing backing) {
  const auto length = static_cast<off_t>(bytes.value());
  if (backing == Backing::kSparse) {
    return ::ftruncate(fd, length) == 0 ? Status() : Status::FromErrno(errno, "cannot size " + path);
  }
  while (::fallocate(fd, 0, 0, length) != 0) {
    if (errno == EINTR) continue;
    if (errno == ENOSPC) {
      return Status(ErrorCode::kResourceExhausted,
                    "no room for a slab of " + std::to_string(bytes.value()) + " bytes at " + path +
                        ": the tmpfs is full; donate less or enlarge it (mount -o remount,size=...)",
                    ErrorScope::kNode, ENOSPC);
    }
    return Status::FromErrno(errno, "cannot allocate " + path, ErrorScope::kNode);
  }
  return {};
}

}  // namespace

Bytes SlabShape::FileBytes() const {
  const std::uint64_t marks = Slots();
  return Bytes(payload.value() + (marks + kBasePage.value() - 1) / kBasePage.value() * kBasePage.value());
}

Result<Slab> Slab::Create(const std::string& path, const SlabShape& shape, Backing backing) {
  const unique_fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd) return Status::FromErrno(errno, "cannot make slab " + path, ErrorScope::kNode);
  Status status = Allocate(fd.get(), path, shape.FileBytes(), backing);
  if (status.ok()) {
    auto slab = Map(fd.get(), path, shape);
    if (slab.ok()) return slab;
    status = slab.status();
  }
  ::unlink(path.c_str());
  return status;
}

Result<Slab> Slab::Open(const std::string& path, const SlabShape& shape) {
  const unique_fd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd) return Status::FromErrno(errno, "cannot open slab " + path, ErrorScope::kNode);
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return Status::FromErrno(errno, "cannot stat " + path);
  if (static_cast<std::uint64_t>(info.st_size) != shape.FileBytes().value()) {
    return Status(ErrorCode::kDataLoss, path + " has " + std::to_string(info.st_size) + " bytes, not " +
                                            std::to_string(shape.FileBytes().value()));
  }
  return Map(fd.get(), path, shape);
}

Result<Slab> Slab::Map(int fd, const std::string& path, const SlabShape& shape) {
  void* base =
      ::mmap(nullptr, shape.FileBytes().value(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
  if (base == MAP_FAILED) return Status::FromErrno(errno, "cannot map slab " + path, ErrorScope::kNode);
  return Slab(static_cast<std::byte*>(base), shape);
}

Slab::Slab(std::byte* base, const SlabShape& shape)
    : base_(base),
      page_bytes_(shape.page_size.value()),
      slots_(shape.Slots()),
      file_bytes_(shape.FileBytes().value()),
      marks_(reinterpret_cast<std::atomic<std::uint8_t>*>(base + shape.payload.value())) {}

Slab::Slab(Slab&& other) noexcept
    : base_(std::exchange(other.base_, nullptr)),
      page_bytes_(other.page_bytes_),
      slots_(other.slots_),
      file_bytes_(other.file_bytes_),
      marks_(std::exchange(other.marks_, nullptr)) {}

Slab::~Slab() {
  if (base_ != nullptr) ::munmap(base_, file_bytes_);
}

std::uint32_t Slab::CountWritten() const {
  std::uint32_t count = 0;
  for (std::uint32_t index = 0; index < slots_; ++index) count += marks_[index].load(std::memory_order_relaxed) != 0 ? 1 : 0;
  return count;
}

}  // namespace heca::store
