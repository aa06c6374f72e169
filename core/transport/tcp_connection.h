// SPDX-License-Identifier: LGPL-2.1-or-later
// The server's end of one data connection after its hello: requests in, answers out, pages straight from and to the
// lease's memory. While an answer waits for the peer to take it, nothing more is read from that peer.
//
//            readable                    all sent
//   [reading] ──────► parse ──► answer ──────────► [reading]        complete requests are parsed before
//       ▲                          │ socket full                    anything more is read
//       └── writable, all sent ── [blocked] ── nothing taken for stall_timeout ──► cut off
#pragma once

#include <sys/epoll.h>

#include <array>
#include <atomic>
#include <memory>

#include "base/clock.h"
#include "base/unique_fd.h"
#include "transport/answer_queue.h"
#include "transport/connection.h"
#include "transport/incoming_write.h"
#include "transport/server.h"
#include "wire/message.h"

namespace heca::transport {

/// Owner loop only, except Info.
class TcpConnection final : public Connection {
 public:
  /// The memory is shared with the lease's other connections and with the store, which may let go of it first.
  TcpConnection(unique_fd fd, const Hello& hello, std::shared_ptr<SlotMemory> memory, std::span<std::byte> scratch);

  [[nodiscard]] int fd() const override { return fd_.get(); }
  /// Edges of both directions, which saves the urgent path a look at an empty socket after every request.
  [[nodiscard]] std::uint32_t Events() const override { return EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET; }
  Status OnEvents(std::uint32_t events) override;
  Status OnTick() override { return CheckOwner(*memory_, hello_); }
  [[nodiscard]] bool unfinished() const override { return readable_ && !blocked(); }
  [[nodiscard]] bool blocked() const override { return !answers_.empty(); }
  [[nodiscard]] Clock::time_point last_sent() const override { return last_sent_; }
  [[nodiscard]] ConnectionInfo Info() const override;

 private:
  /// Handles every complete request that was received, as far as there is room for answers. True if it stopped for
  /// lack of input.
  Result<bool> Parse();
  /// Handles the request at the front of the input; false if it is not complete.
  Result<bool> ParseOne();
  void Handle(const wire::RequestHeader& header, std::span<const Slot> slots);
  void FinishWrite();
  /// One recv; clears readable_ when the socket is empty.
  Status ReceiveSome();
  Status Flush();
  std::span<const std::byte> Input() const { return std::span(input_).subspan(begin_, end_ - begin_); }

  /// Requests that are received by one call. An urgent connection may have many small ones; on a bulk connection more
  /// than one request at a time would be bytes of pages, which would then be copied.
  static constexpr std::size_t kInput = 4096;
  static_assert(kInput >= wire::kMaxRequestSize);

  const unique_fd fd_;
  const Hello hello_;
  const std::shared_ptr<SlotMemory> memory_;
  const std::string peer_;
  const std::size_t page_size_;
  const std::size_t input_limit_;
  std::array<std::byte, kInput> input_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  IncomingWrite write_;
  AnswerQueue answers_;
  bool readable_ = false;  ///< the socket may hold something that no further edge will tell of
  bool hung_up_ = false;   ///< the end of the stream was announced: read on until it shows
  bool was_blocked_ = false;
  Clock::time_point last_sent_;
  // Written by the owner only.
  std::atomic<std::uint64_t> bytes_in_{0};
  std::atomic<std::uint64_t> bytes_out_{0};
};

}  // namespace heca::transport
