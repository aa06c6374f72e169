// SPDX-License-Identifier: LGPL-2.1-or-later
// The client's copy of a lease's directory, which the server only adds to: read when the channel is made, and again when slots are
// asked for that it has not.
//
//   resting --Want, Ask--> counting --more than before--> fetching --> resting
//                             '-------------no------------------------'
//
// The entries are read after their number: what counts was there before, and none is read half.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/clock.h"
#include "heca/status.h"
#include "transport/rdma/link.h"
#include "transport/rdma/registered.h"
#include "transport/rdma/slot_map.h"
#include "wire/rdma.h"

namespace heca::transport::rdma {

/// One thread at a time.
class SlotDirectory {
 public:
  /// Of the completion of its request, of which there is one at a time.
  static constexpr std::uint64_t kTag = 3;

  static Result<SlotDirectory> Make(Link& link, const wire::RemoteMemory& directory, std::size_t page_size);

  void Want() { wanted_ = true; }
  /// A request for the link's next Post, if that is wanted, none is under way, and the last one was a while ago.
  void Ask();
  /// Its completion: all slots, if there are more than before. May make another request.
  Result<std::optional<SlotMap>> Take();
  /// Nothing is wanted or under way.
  [[nodiscard]] bool resting() const { return !wanted_ && state_ == State::kResting; }
  /// As far as is known.
  [[nodiscard]] bool empty() const { return entries_ == 0; }

 private:
  enum class State : std::uint8_t { kInvalid = 0, kResting = 1, kCounting = 2, kFetching = 3 };

  SlotDirectory(Link& link, const wire::RemoteMemory& directory, std::size_t page_size, Registered copy)
      : link_(&link), directory_(directory), page_size_(page_size), copy_(std::move(copy)) {}
  void Read(std::size_t bytes);

  Link* link_;
  wire::RemoteMemory directory_;
  std::size_t page_size_;
  Registered copy_;
  bool wanted_ = false;
  State state_ = State::kResting;
  std::uint32_t entries_ = 0;  ///< known; in kFetching, those that are read
  Clock::time_point next_{};
};

}  // namespace heca::transport::rdma
