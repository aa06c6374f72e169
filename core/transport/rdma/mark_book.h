// SPDX-License-Identifier: LGPL-2.1-or-later
// What this host knows of the marks of a lease's slots at the sponsor. The owner of a lease is its only writer, so what it has
// seen once stays true until it changes it itself; what it does not know it has to look at. Shared by the lease's channels over
// RDMA, and only by these: what another one has changed, over TCP say, it does not know, so nobody may fail by its word.
#pragma once

#include <atomic>
#include <cstdint>

#include "heca/status.h"
#include "heca/types.h"

namespace heca::transport::rdma {

enum class Mark : std::uint8_t { kUnknown = 0, kWritten = 1, kFree = 2 };

/// Thread-safe. One byte a slot that was ever looked at; the rest is address space.
class MarkBook {
 public:
  static Result<MarkBook> Make();
  MarkBook(MarkBook&& other) noexcept;
  MarkBook& operator=(MarkBook&&) = delete;
  ~MarkBook();

  [[nodiscard]] Mark Get(Slot slot) const {
    return static_cast<Mark>(marks_[slot.value()].load(std::memory_order_relaxed));
  }
  void Set(Slot slot, Mark mark) { marks_[slot.value()].store(static_cast<std::uint8_t>(mark), std::memory_order_relaxed); }

 private:
  explicit MarkBook(std::atomic<std::uint8_t>* marks) : marks_(marks) {}
  std::atomic<std::uint8_t>* marks_;
};

}  // namespace heca::transport::rdma
