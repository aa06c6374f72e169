// SPDX-License-Identifier: LGPL-2.1-or-later
// Answers on their way to a socket: headers here, pages where the lease keeps them. Fixed size, no copies of pages.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <span>

#include "heca/status.h"
#include "wire/message.h"

namespace heca::transport {

/// One thread at a time. Holds pointers into itself: stays where it is.
class AnswerQueue {
 public:
  AnswerQueue() = default;
  AnswerQueue(const AnswerQueue&) = delete;
  AnswerQueue& operator=(const AnswerQueue&) = delete;

  [[nodiscard]] bool empty() const { return begin_ == end_; }
  /// Whether one more answer fits, whatever it is.
  [[nodiscard]] bool HasRoom() const { return answers_ < kAnswers && end_ + 1 + wire::kMaxBatch <= kParts; }
  /// Needs HasRoom. The pages stay valid until the queue is empty.
  void Add(const wire::Answer& answer, std::span<const std::span<const std::byte>> pages);
  /// Sends what the socket takes; returns the bytes sent. What is left stays queued.
  Result<std::size_t> Flush(int fd);

 private:
  static constexpr std::size_t kAnswers = 64;
  static constexpr std::size_t kParts = 512;  // two full batches find room in any case; UIO_MAXIOV is 1024
  static_assert(kParts >= 2 * (1 + wire::kMaxBatch) && kParts <= 1024);

  std::array<std::array<std::byte, wire::kAnswerSize>, kAnswers> headers_;
  std::size_t answers_ = 0;
  std::array<iovec, kParts> parts_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

/// Drops `bytes` from the front of parts[begin..end); returns the new begin.
std::size_t Advance(std::span<iovec> parts, std::size_t begin, std::size_t bytes);

}  // namespace heca::transport
