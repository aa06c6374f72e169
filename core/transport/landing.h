// SPDX-License-Identifier: LGPL-2.1-or-later
// Where a channel receives answers: one buffer, filled by the socket and taken from the front.
//
// Answers are parsed and handed out in place. While it is empty the buffer starts at an offset that puts the pages
// behind the first answer's header at a page boundary: copying them into guest memory is then aligned.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

namespace heca::transport {

/// One thread at a time.
class Landing {
 public:
  /// Room for at least `capacity` bytes that were received and not taken. All memory is touched here.
  explicit Landing(std::size_t capacity);

  [[nodiscard]] std::size_t size() const { return end_ - begin_; }
  [[nodiscard]] std::span<const std::byte> Front(std::size_t bytes) const { return {buffer_.get() + begin_, bytes}; }
  void Take(std::size_t bytes) { begin_ += bytes; }
  /// Where up to `bytes` can be received, behind what is there; moves what is there to the front only if it must.
  std::span<std::byte> Room(std::size_t bytes);
  void Received(std::size_t bytes) { end_ += bytes; }

 private:
  struct Free {
    void operator()(std::byte* memory) const;
  };
  std::size_t size_;
  std::unique_ptr<std::byte, Free> buffer_;
  std::size_t begin_;
  std::size_t end_;
};

}  // namespace heca::transport
