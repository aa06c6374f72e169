// SPDX-License-Identifier: LGPL-2.1-or-later
#include "transport/rdma/mark_book.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstddef>
#include <utility>

namespace heca::transport::rdma {
namespace {

constexpr std::size_t kSlots = std::size_t{1} << 32;  // a Slot has 32 bits

}  // namespace

Result<MarkBook> MarkBook::Make() {
  void* const base = ::mmap(nullptr, kSlots, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) return Status::FromErrno(errno, "address space for the marks of a lease");
  return MarkBook(static_cast<std::atomic<std::uint8_t>*>(base));
}

MarkBook::MarkBook(MarkBook&& other) noexcept : marks_(std::exchange(other.marks_, nullptr)) {}

MarkBook::~MarkBook() {
  if (marks_ != nullptr) ::munmap(marks_, kSlots);
}

}  // namespace heca::transport::rdma
