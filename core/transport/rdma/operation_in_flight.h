// SPDX-License-Identifier: LGPL-2.1-or-later
// One operation of an RDMA channel between its start and its delivery.
//
//   waiting   a write or release behind one that must not be overtaken
//   asked     the server carries it out, and sends an answer                        (two-sided)
//   looking   marks that are not known are being read                               (one-sided)
//   moving    pages and marks are being read or written                             (one-sided)
//   finished  delivered when all before it are
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "transport/channel.h"
#include "transport/rdma/page_ring.h"
#include "transport/slot_batch.h"
#include "wire/message.h"

namespace heca::transport::rdma {

enum class Stage : std::uint8_t { kInvalid = 0, kWaiting = 1, kAsked = 2, kLooking = 3, kMoving = 4, kFinished = 5 };

struct OperationInFlight {
  OpTag tag;
  wire::RequestId id;
  Operation operation = Operation::kInvalid;
  Attempt attempt = Attempt::kInvalid;
  Stage stage = Stage::kInvalid;
  bool alone = false;          ///< one-sided
  std::size_t payload = 0;     ///< bytes of pages
  PageRing::Place place;       ///< of them, in the channel's ring
  std::span<const std::byte> source;  ///< or, of a write, where they lie in memory that is registered
  std::size_t requests = 0;    ///< places of the send queue that it may need, all in all
  std::size_t count = 0;
  std::array<Slot, wire::kMaxBatch> slots;
  BatchOutcome outcome;        ///< once finished

  [[nodiscard]] std::span<const Slot> Slots() const { return std::span(slots).first(count); }
  [[nodiscard]] bool changes() const { return operation == Operation::kWrite || operation == Operation::kRelease; }
  void Finish(const BatchOutcome& how) {
    stage = Stage::kFinished;
    outcome = how;
  }
};

}  // namespace heca::transport::rdma
