// SPDX-License-Identifier: LGPL-2.1-or-later
#include "store/op_table.h"

#include <algorithm>

#include "base/check.h"

namespace heca::store {

OpTable::OpTable(std::uint32_t capacity, std::size_t max_batch)
    : max_batch_(max_batch), ops_(capacity), slots_(std::make_unique<Slot[]>(capacity * max_batch)) {
  for (std::uint32_t index = capacity; index-- > 0;) {
    ops_[index].next = free_;
    free_ = index;
  }
}

std::uint32_t OpTable::Add(OpKind kind, OpTag tag, std::span<const Slot> slots, std::span<const std::byte> pages) {
  if (free_ == kNone) return kNone;
  const std::uint32_t index = free_;
  Op& op = ops_[index];
  free_ = op.next;
  op = {tag, pages, static_cast<std::uint32_t>(slots.size()), kind, false, false, newest_, kNone};
  std::copy(slots.begin(), slots.end(), slots_.get() + index * max_batch_);
  (newest_ == kNone ? oldest_ : ops_[newest_].next) = index;
  newest_ = index;
  if (unsent_ == kNone) unsent_ = index;
  ++size_;
  return index;
}

void OpTable::Remove(std::uint32_t index) {
  Op& op = ops_[index];
  HECA_CHECK(op.kind != OpKind::kFree);
  if (unsent_ == index) unsent_ = op.next;
  (op.previous == kNone ? oldest_ : ops_[op.previous].next) = op.next;
  (op.next == kNone ? newest_ : ops_[op.next].previous) = op.previous;
  op.kind = OpKind::kFree;
  op.next = free_;
  free_ = index;
  --size_;
}

void OpTable::MarkSent(std::uint32_t index) {
  HECA_CHECK(index == unsent_);
  ops_[index].sent = true;
  unsent_ = ops_[index].next;
}

void OpTable::MarkAllUnsent() {
  for (std::uint32_t index = oldest_; index != kNone; index = ops_[index].next) {
    ops_[index].in_doubt = ops_[index].in_doubt || ops_[index].sent;
    ops_[index].sent = false;
  }
  unsent_ = oldest_;
}

}  // namespace heca::store
