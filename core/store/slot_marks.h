// SPDX-License-Identifier: LGPL-2.1-or-later
// A small set of slots with a few bits each: what a writer has in flight on them. Sized by what is in flight, not by
// the lease. Open addressing; allocates only while it grows to a new maximum.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "heca/types.h"

namespace heca::store {

/// One thread at a time.
class SlotMarks {
 public:
  SlotMarks() : entries_(kFirstSize) {}
  [[nodiscard]] std::uint8_t Get(Slot slot) const { return entries_[Find(slot)].mask; }
  void Set(Slot slot, std::uint8_t mask);
  void Clear(Slot slot, std::uint8_t mask);
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  static constexpr std::size_t kFirstSize = 1024;  // a power of two, as every later size
  struct Entry {
    Slot slot;  ///< kNoSlot: empty
    std::uint8_t mask = 0;
  };
  [[nodiscard]] std::size_t Home(Slot slot) const {
    return (slot.value() * std::uint64_t{0x9E3779B97F4A7C15} >> 32) & (entries_.size() - 1);  // Fibonacci hashing
  }
  /// Where the slot is, or the empty place where it belongs.
  [[nodiscard]] std::size_t Find(Slot slot) const;
  void Grow();

  std::vector<Entry> entries_;
  std::size_t size_ = 0;
};

}  // namespace heca::store
