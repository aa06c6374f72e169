// SPDX-License-Identifier: LGPL-2.1-or-later
#include "store/slot_marks.h"

#include <utility>

namespace heca::store {

std::size_t SlotMarks::Find(Slot slot) const {
  std::size_t at = Home(slot);
  while (entries_[at].slot != slot && entries_[at].slot != kNoSlot) at = (at + 1) & (entries_.size() - 1);
  return at;
}

void SlotMarks::Set(Slot slot, std::uint8_t mask) {
  if (2 * (size_ + 1) > entries_.size()) Grow();
  Entry& entry = entries_[Find(slot)];
  if (entry.slot == kNoSlot) {
    entry.slot = slot;
    ++size_;
  }
  entry.mask = static_cast<std::uint8_t>(entry.mask | mask);
}

void SlotMarks::Clear(Slot slot, std::uint8_t mask) {
  std::size_t hole = Find(slot);
  if (entries_[hole].slot == kNoSlot) return;
  entries_[hole].mask = static_cast<std::uint8_t>(entries_[hole].mask & ~mask);
  if (entries_[hole].mask != 0) return;
  --size_;
  // Moves back whoever was pushed on by the entry that goes, so that no tombstones gather.
  const std::size_t last = entries_.size() - 1;
  for (std::size_t at = (hole + 1) & last; entries_[at].slot != kNoSlot; at = (at + 1) & last) {
    if (((at - Home(entries_[at].slot)) & last) >= ((at - hole) & last)) {
      entries_[hole] = entries_[at];
      hole = at;
    }
  }
  entries_[hole] = {};
}

void SlotMarks::Grow() {
  std::vector<Entry> old(entries_.size() * 2);
  std::swap(old, entries_);
  for (const Entry& entry : old) {
    if (entry.slot != kNoSlot) entries_[Find(entry.slot)] = entry;
  }
}

}  // namespace heca::store
