// SPDX-License-Identifier: LGPL-2.1-or-later
// The operations of one reader or writer that have no completion yet, in the order in which they were started, so
// that all of them can be sent again on a new connection. All memory is allocated at construction.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "heca/page_store.h"
#include "heca/types.h"

namespace heca::store {

enum class OpKind : std::uint8_t { kFree = 0, kRead = 1, kWrite = 2, kRelease = 3 };

/// One thread at a time.
class OpTable {
 public:
  static constexpr std::uint32_t kNone = UINT32_MAX;

  struct Op {
    OpTag tag;  ///< the caller's; the channel is given the index
    std::span<const std::byte> pages;
    std::uint32_t slots = 0;
    OpKind kind = OpKind::kFree;
    bool sent = false;  ///< on the present channel
    bool in_doubt = false;  ///< was sent on a former channel: the sponsor may have done it
    std::uint32_t previous = kNone;
    std::uint32_t next = kNone;
  };

  OpTable(std::uint32_t capacity, std::size_t max_batch);

  /// kNone when the table is full. The slots are copied.
  std::uint32_t Add(OpKind kind, OpTag tag, std::span<const Slot> slots, std::span<const std::byte> pages);
  void Remove(std::uint32_t index);

  [[nodiscard]] Op& At(std::uint32_t index) { return ops_[index]; }
  [[nodiscard]] std::span<const Slot> SlotsOf(std::uint32_t index) const {
    return {slots_.get() + index * max_batch_, ops_[index].slots};
  }
  /// True if `index` names an operation of this kind that was sent: what a channel may complete.
  [[nodiscard]] bool IsSent(std::uint64_t index, OpKind kind) const {
    return index < ops_.size() && ops_[index].kind == kind && ops_[index].sent;
  }
  [[nodiscard]] std::uint32_t oldest() const { return oldest_; }
  [[nodiscard]] std::uint32_t size() const { return size_; }
  /// The oldest operation that waits to be sent; kNone: all are on the channel.
  [[nodiscard]] std::uint32_t unsent() const { return unsent_; }
  /// `index` must be unsent().
  void MarkSent(std::uint32_t index);
  /// The channel is gone: everything waits to be sent again.
  void MarkAllUnsent();

 private:
  const std::size_t max_batch_;
  std::vector<Op> ops_;
  std::unique_ptr<Slot[]> slots_;
  std::uint32_t free_ = kNone;  ///< chained by `next`
  std::uint32_t oldest_ = kNone;
  std::uint32_t newest_ = kNone;
  std::uint32_t unsent_ = kNone;
  std::uint32_t size_ = 0;
};

}  // namespace heca::store
