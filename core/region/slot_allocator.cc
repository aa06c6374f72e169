// SPDX-License-Identifier: LGPL-2.1-or-later
#include "region/slot_allocator.h"

#include <bit>
#include <string>

#include "base/check.h"

namespace heca::region {

SlotAllocator::SlotAllocator(std::uint32_t slot_count, std::uint32_t read_only)
    : read_only_(read_only),
      slot_count_(read_only),
      read_only_idle_(read_only),
      allocate_cursor_(read_only / 64) {
  low_.Grow((std::size_t{read_only} + 63) / 64);
  high_.Grow(low_.size());
  Grow(slot_count);
}

void SlotAllocator::Grow(std::uint32_t slot_count) {
  if (slot_count <= slot_count_) return;
  const std::size_t words = (std::size_t{slot_count} + 63) / 64;
  low_.Grow(words);
  high_.Grow(words);
  free_ += slot_count - slot_count_;
  slot_count_ = slot_count;
}

SlotAllocator::Use SlotAllocator::UseOf(std::uint32_t index) const {
  const auto low = low_[index / 64] >> (index % 64) & 1;
  const auto high = high_[index / 64] >> (index % 64) & 1;
  return static_cast<Use>(high << 1 | low);
}

std::uint32_t& SlotAllocator::CountOf(Use use, bool read_only) {
  switch (use) {
    case Use::kFree: return read_only ? read_only_idle_ : free_;
    case Use::kUsed: return read_only ? read_only_used_ : used_;
    case Use::kCondemned: return condemned_;
    case Use::kReleasing: break;
  }
  return releasing_;
}

void SlotAllocator::SetUse(std::uint32_t index, Use use) {
  const bool read_only = index < read_only_;
  --CountOf(UseOf(index), read_only);
  ++CountOf(use, read_only);
  const std::uint64_t bit = std::uint64_t{1} << (index % 64);
  const auto value = static_cast<unsigned>(use);
  if ((value & 1U) != 0) low_[index / 64] |= bit; else low_[index / 64] &= ~bit;
  if ((value & 2U) != 0) high_[index / 64] |= bit; else high_[index / 64] &= ~bit;
}

template <class Take>
std::size_t SlotAllocator::Sweep(Use wanted, std::uint32_t& cursor, std::size_t room, Take take) {
  std::size_t taken = 0;
  const auto words = static_cast<std::uint32_t>(low_.size());
  for (std::uint32_t step = 0; step <= words && taken < room && CountOf(wanted, false) > 0; ++step) {
    if (cursor >= words) cursor = read_only_ / 64;
    const std::uint64_t low = low_[cursor];
    const std::uint64_t high = high_[cursor];
    std::uint64_t matching = wanted == Use::kFree ? ~low & ~high : high & ~low;
    if (cursor == read_only_ / 64) matching &= ~std::uint64_t{0} << (read_only_ % 64);
    while (matching != 0 && taken < room) {
      const auto index = cursor * 64 + static_cast<std::uint32_t>(std::countr_zero(matching));
      matching &= matching - 1;
      if (index >= slot_count_) break;
      take(index);
      ++taken;
    }
    if (matching == 0 || taken < room) ++cursor;
  }
  return taken;
}

std::size_t SlotAllocator::Allocate(std::span<Slot> out) {
  std::size_t next = 0;
  return Sweep(Use::kFree, allocate_cursor_, out.size(), [&](std::uint32_t index) {
    SetUse(index, Use::kUsed);
    out[next++] = Slot(index + 1);
  });
}

std::size_t SlotAllocator::TakeCondemned(std::span<Slot> out) {
  std::size_t next = 0;
  return Sweep(Use::kCondemned, release_cursor_, out.size(), [&](std::uint32_t index) {
    SetUse(index, Use::kReleasing);
    out[next++] = Slot(index + 1);
  });
}

void SlotAllocator::Condemn(Slot slot) {
  HECA_CHECK(slot != kNoSlot && slot.value() <= slot_count_ && UseOf(slot.value() - 1) == Use::kUsed);
  SetUse(slot.value() - 1, IsReadOnly(slot) ? Use::kFree : Use::kCondemned);
}

void SlotAllocator::Return(Slot slot) {
  HECA_CHECK(slot != kNoSlot && slot.value() <= slot_count_ && UseOf(slot.value() - 1) == Use::kUsed);
  SetUse(slot.value() - 1, Use::kFree);
}

void SlotAllocator::Released(std::span<const Slot> slots) {
  for (const Slot slot : slots) {
    HECA_CHECK(UseOf(slot.value() - 1) == Use::kReleasing);
    SetUse(slot.value() - 1, Use::kFree);
  }
}

void SlotAllocator::ReleaseFailed(std::span<const Slot> slots) {
  for (const Slot slot : slots) {
    HECA_CHECK(UseOf(slot.value() - 1) == Use::kReleasing);
    SetUse(slot.value() - 1, Use::kCondemned);
  }
}

void SlotAllocator::CondemnUpTo(Slot mark) {
  for (std::uint32_t index = read_only_; index < mark.value() && index < slot_count_; ++index) {
    if (UseOf(index) == Use::kFree) SetUse(index, Use::kCondemned);
  }
}

Status SlotAllocator::MarkUsed(Slot slot) {
  if (slot == kNoSlot || slot.value() > slot_count_) {
    return Status(ErrorCode::kDataLoss, "the page table names slot " + std::to_string(slot.value()) +
                      " of a store with " + std::to_string(slot_count_), ErrorScope::kRegion);
  }
  if (UseOf(slot.value() - 1) == Use::kUsed) {
    return Status(ErrorCode::kDataLoss, "the page table names slot " + std::to_string(slot.value()) + " twice",
                  ErrorScope::kRegion);
  }
  SetUse(slot.value() - 1, Use::kUsed);
  return Status();
}

}  // namespace heca::region
