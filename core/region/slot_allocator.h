// SPDX-License-Identifier: LGPL-2.1-or-later
// Which slots of the store are free. Two bits a slot:
//
//   free --Allocate--> used --Condemn--> condemned --TakeCondemned--> releasing --Released--> free
//
// A slot is handed out again only after the store has confirmed its release, because a slot that is written is never
// overwritten. The store's owner keeps no list of its own on disk: after a restart the slots in use are those that the
// page table names; all others up to the highest ever handed out are condemned first (a write-back of the dead daemon
// may have reached any of them).
//
// The first slots of a store may be read-only (PageStore::ReadOnlySlots): they are used where a page names them, never
// handed out and never released; condemning one only forgets it.
#pragma once

#include <cstdint>
#include <span>

#include "heca/status.h"
#include "heca/types.h"
#include "region/lazy_words.h"

namespace heca::region {

/// Owner loop only. No call but the constructor and Grow allocates.
class SlotAllocator {
 public:
  explicit SlotAllocator(std::uint32_t slot_count, std::uint32_t read_only = 0);

  /// The lease has more slots now. Never shrinks.
  void Grow(std::uint32_t slot_count);
  /// Fills `out` with free slots, neighbours as far as possible; returns how many there were.
  [[nodiscard]] std::size_t Allocate(std::span<Slot> out);
  /// A slot that nobody will read again.
  void Condemn(Slot slot);
  /// A slot that was allocated and never written.
  void Return(Slot slot);
  /// Moves up to out.size() condemned slots to `releasing`.
  [[nodiscard]] std::size_t TakeCondemned(std::span<Slot> out);
  void Released(std::span<const Slot> slots);
  /// The release did not happen: condemned again.
  void ReleaseFailed(std::span<const Slot> slots);

  /// Recovery, on an allocator of which no slot was ever handed out: those up to `mark` may be written at the store.
  void CondemnUpTo(Slot mark);
  /// Recovery: `slot` is in use by a page. kDataLoss if it is used twice or out of range.
  Status MarkUsed(Slot slot);

  [[nodiscard]] std::uint32_t slot_count() const { return slot_count_; }
  [[nodiscard]] std::uint32_t free() const { return free_; }
  [[nodiscard]] std::uint32_t used() const { return used_; }
  /// Condemned and not yet taken for release.
  [[nodiscard]] std::uint32_t condemned() const { return condemned_; }
  [[nodiscard]] std::uint32_t releasing() const { return releasing_; }
  [[nodiscard]] bool IsReadOnly(Slot slot) const { return slot != kNoSlot && slot.value() <= read_only_; }
  [[nodiscard]] std::uint32_t read_only() const { return read_only_; }
  /// Read-only slots that pages still name.
  [[nodiscard]] std::uint32_t read_only_used() const { return read_only_used_; }

 private:
  enum class Use : std::uint8_t { kFree = 0, kUsed = 1, kCondemned = 2, kReleasing = 3 };
  [[nodiscard]] Use UseOf(std::uint32_t index) const;
  void SetUse(std::uint32_t index, Use use);
  /// Where slots of this use are counted. A read-only slot that nobody uses is not free.
  std::uint32_t& CountOf(Use use, bool read_only);
  template <class Take>
  std::size_t Sweep(Use wanted, std::uint32_t& cursor, std::size_t room, Take take);

  LazyWords low_;   // bit 0 of Use, one bit a slot; a lease whose slots were never used takes nothing
  LazyWords high_;  // bit 1
  const std::uint32_t read_only_;
  std::uint32_t slot_count_ = 0;
  std::uint32_t read_only_used_ = 0;
  std::uint32_t read_only_idle_ = 0;
  std::uint32_t free_ = 0;
  std::uint32_t used_ = 0;
  std::uint32_t condemned_ = 0;
  std::uint32_t releasing_ = 0;
  std::uint32_t allocate_cursor_;      // word index
  std::uint32_t release_cursor_ = 0;
};

}  // namespace heca::region
