// SPDX-License-Identifier: LGPL-2.1-or-later
// One operation of an RDMA channel between its start and its delivery.
//
//   asked     the server carries it out, and sends an answer                        (two-sided)
//   waiting   a write or release behind one that looks at marks first               (one-sided from here on)
//   looking   marks that are not known are being read
//   moving    pages and marks are being read or written
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

enum class Stage : std::uint8_t { kInvalid = 0, kAsked = 1, kWaiting = 2, kLooking = 3, kMoving = 4, kFinished = 5 };

struct OperationInFlight {
  OpTag tag;
  wire::RequestId id;
  Operation operation = Operation::kInvalid;
  Attempt attempt = Attempt::kInvalid;
  Stage stage = Stage::kInvalid;
  std::size_t payload = 0;     ///< bytes of pages
  PageRing::Place place;       ///< of them, in the channel's ring
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
