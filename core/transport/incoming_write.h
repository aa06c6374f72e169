// SPDX-License-Identifier: LGPL-2.1-or-later
// A write whose payload is arriving: straight into the lease's memory, or into a scratch page when it is refused or
// repeated.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <span>

#include "transport/server.h"
#include "transport/slot_batch.h"
#include "wire/message.h"

namespace heca::transport {

/// One thread at a time.
class IncomingWrite {
 public:
  /// `scratch` is a page that nobody reads; shared by all connections of a thread.
  explicit IncomingWrite(std::span<std::byte> scratch) : scratch_(scratch) {}

  [[nodiscard]] bool active() const { return active_; }
  [[nodiscard]] bool complete() const { return active_ && begin_ == end_; }
  [[nodiscard]] wire::RequestId id() const { return id_; }
  /// Asks the memory where the bytes go. A refusal shows in Finish, after the payload has been swallowed.
  void Begin(SlotMemory& memory, const wire::RequestHeader& header, std::span<const Slot> slots, Attempt attempt);
  /// Where the rest of the payload goes, followed by room for one more part, which the caller may fill.
  std::span<iovec> Rest() { return std::span(parts_).subspan(begin_, end_ - begin_ + 1); }
  [[nodiscard]] std::size_t left() const { return left_; }
  /// `bytes` of the payload have been put where Rest() said.
  void Received(std::size_t bytes);
  /// Copies from bytes that were received already; returns how many it took.
  std::size_t TakeFrom(std::span<const std::byte> bytes);
  /// Commits unless the write was refused. Needs complete().
  BatchOutcome Finish(SlotMemory& memory);

 private:
  const std::span<std::byte> scratch_;
  bool active_ = false;
  wire::RequestId id_;
  std::size_t count_ = 0;
  BatchOutcome outcome_;
  std::array<Slot, wire::kMaxBatch> slots_;
  std::array<std::span<std::byte>, wire::kMaxBatch> landings_;
  std::array<iovec, wire::kMaxBatch + 1> parts_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::size_t left_ = 0;
};

}  // namespace heca::transport
