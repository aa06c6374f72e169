// SPDX-License-Identifier: LGPL-2.1-or-later
#include "transport/incoming_write.h"

#include <algorithm>
#include <cstring>

#include "transport/answer_queue.h"

namespace heca::transport {

void IncomingWrite::Begin(SlotMemory& memory, const wire::RequestHeader& header, std::span<const Slot> slots,
                          Attempt attempt) {
  active_ = true;
  id_ = header.id;
  count_ = slots.size();
  std::copy(slots.begin(), slots.end(), slots_.begin());
  outcome_ = LandingsForWrite(memory, slots, attempt, landings_);
  const std::size_t page_size = scratch_.size();
  left_ = count_ * page_size;
  begin_ = end_ = 0;
  for (std::size_t i = 0; i < count_; ++i) {
    const bool swallow = !outcome_.ok() || landings_[i].empty();
    std::byte* const base = swallow ? scratch_.data() : landings_[i].data();
    const bool follows = !swallow && end_ > 0 &&
                         static_cast<std::byte*>(parts_[end_ - 1].iov_base) + parts_[end_ - 1].iov_len == base;
    if (follows) {
      parts_[end_ - 1].iov_len += page_size;
    } else {
      parts_[end_++] = {base, page_size};
    }
  }
}

void IncomingWrite::Received(std::size_t bytes) {
  left_ -= bytes;
  begin_ = Advance(std::span(parts_).first(end_), begin_, bytes);
}

std::size_t IncomingWrite::TakeFrom(std::span<const std::byte> bytes) {
  std::size_t taken = 0;
  while (taken < bytes.size() && begin_ != end_) {
    const std::size_t some = std::min(bytes.size() - taken, parts_[begin_].iov_len);
    std::memcpy(parts_[begin_].iov_base, bytes.data() + taken, some);
    taken += some;
    Received(some);
  }
  return taken;
}

BatchOutcome IncomingWrite::Finish(SlotMemory& memory) {
  active_ = false;
  if (outcome_.ok()) Commit(memory, std::span(slots_).first(count_), std::span(landings_).first(count_));
  return outcome_;
}

}  // namespace heca::transport
