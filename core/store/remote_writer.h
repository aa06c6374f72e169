// SPDX-License-Identifier: LGPL-2.1-or-later
// PageWriter over a link to a sponsor.
//
// It refuses by itself what a reconnect could otherwise turn into a loss: a Write to a slot whose release (or former
// write) has not completed. If that Write were acknowledged and the release then sent again on a new connection, the
// page would be gone.
#pragma once

#include <cstdint>

#include "heca/page_store.h"
#include "store/session.h"
#include "store/slot_marks.h"

namespace heca::store {

/// One thread at a time.
class RemoteWriter final : public PageWriter, private Session {
 public:
  using Session::Session;

  void WritesFrom(std::span<const std::byte> memory) override { SendsFrom(memory); }
  /// kAlreadyExists while an operation on one of the slots is in flight on this writer.
  Status Write(OpTag tag, std::span<const Slot> slots, std::span<const std::byte> pages) override;
  /// kBusy while a release of one of the slots is in flight on this writer.
  Status Release(OpTag tag, std::span<const Slot> slots) override;
  std::size_t Poll(WriteSink& sink) override;
  [[nodiscard]] PollNeed Need() const override { return SessionNeed(); }
  [[nodiscard]] std::size_t MaxBatch() const override { return max_batch(); }

 private:
  void Complete(OpKind kind, OpTag tag, std::span<const Slot> slots, const Status& status,
                std::span<const std::byte> pages) override;

  enum Flight : std::uint8_t { kWriting = 1, kReleasing = 2 };
  [[nodiscard]] bool Any(std::span<const Slot> slots, std::uint8_t mask) const;

  SlotMarks flights_;
  WriteSink* sink_ = nullptr;  ///< during Poll
  std::size_t delivered_ = 0;
};

}  // namespace heca::store
