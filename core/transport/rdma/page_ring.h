// SPDX-License-Identifier: LGPL-2.1-or-later
// Places in a ring of registered memory: one stretch for the pages of an operation, given back in the order in which they were
// taken. Arithmetic only.
#pragma once

#include <cstddef>
#include <optional>

namespace heca::transport::rdma {

/// One thread at a time.
class PageRing {
 public:
  PageRing() = default;
  explicit PageRing(std::size_t bytes) : size_(bytes) {}

  struct Place {
    std::size_t offset = 0;
    std::size_t taken = 0;  ///< with what was left over at the ring's end; for GiveBack
  };
  /// In one piece; nothing if there is no room now. An empty stretch takes nothing.
  std::optional<Place> Take(std::size_t bytes) {
    if (bytes == 0) return Place{};
    const std::size_t at = begin_ + used_ < size_ ? begin_ + used_ : begin_ + used_ - size_;
    const bool wraps = at + bytes > size_;
    const std::size_t taken = wraps ? size_ - at + bytes : bytes;
    if (bytes > size_ || used_ + taken > size_) return {};
    used_ += taken;
    return Place{wraps ? 0 : at, taken};
  }
  /// The oldest.
  void GiveBack(const Place& place) {
    used_ -= place.taken;
    begin_ = used_ == 0 ? 0 : (begin_ + place.taken) % size_;
  }

 private:
  std::size_t size_ = 0;
  std::size_t begin_ = 0;
  std::size_t used_ = 0;
};

}  // namespace heca::transport::rdma
