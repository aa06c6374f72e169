// SPDX-License-Identifier: LGPL-2.1-or-later
// The client's end of a TCP data connection. Made by TcpDialer::Dial.
//
// A read of one page is one send() and one recv(): requests are sent where they are started, answers are received into
// one buffer and handed out from it. Answers come in the order of the requests, so the operations in flight are a
// ring. Nothing is allocated after construction unless something fails.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "transport/channel.h"
#include "transport/landing.h"
#include "transport/slot_batch.h"
#include "wire/hello.h"
#include "wire/message.h"

namespace heca::transport {

/// One thread at a time, except Moved().
class TcpChannel final : public Channel {
 public:
  /// `fd` is connected and has been through its hello; `granted` was checked by its decoder.
  TcpChannel(unique_fd fd, Role role, const wire::HelloReply& granted);

  Status Read(OpTag tag, std::span<const Slot> slots) override;
  Status Write(OpTag tag, std::span<const Slot> slots, std::span<const std::byte> pages, Attempt attempt) override;
  Status Release(OpTag tag, std::span<const Slot> slots) override;
  Status Poll(ChannelSink& sink) override;
  [[nodiscard]] PollNeed Need() const override;
  [[nodiscard]] std::size_t MaxBatch() const override { return max_batch_; }
  [[nodiscard]] Bytes PageSize() const override { return page_size_; }
  [[nodiscard]] Traffic Moved() const override;
  [[nodiscard]] std::string Describe() const override { return description_; }

 private:
  /// One operation without an answer: a place in the ring.
  struct InFlight {
    OpTag tag;
    wire::RequestId id;
    Operation operation = Operation::kInvalid;
    std::size_t payload = 0;  ///< bytes, in whichever direction
    std::array<std::byte, wire::kMaxRequestSize> request;
    std::size_t request_size = 0;
    std::span<const std::byte> pages;  ///< of a write
    std::size_t sent = 0;              ///< of request and pages together
  };

  Status Start(Operation operation, wire::RequestKind kind, OpTag tag, std::span<const Slot> slots,
               std::span<const std::byte> pages);
  InFlight& At(std::uint64_t position) { return ring_[position % ring_.size()]; }
  /// Sends what was started and not sent, as far as the socket takes it.
  void Flush();
  /// Sends some of one operation; false if the socket takes no more.
  bool Send(InFlight& op);
  void Receive(ChannelSink& sink);
  /// Bytes to ask the socket for: whole answers, so that the next one starts at the front of the buffer again.
  [[nodiscard]] std::size_t Awaited();
  /// Delivers the oldest operation's answer if all of it is there.
  bool DeliverOne(ChannelSink& sink);
  void Deliver(const InFlight& op, const wire::Answer& answer, ChannelSink& sink);
  void Fail(Status why);

  const unique_fd fd_;
  const Role role_;
  const Bytes page_size_;
  const std::size_t max_batch_;
  const std::size_t window_;
  const std::string description_;
  std::vector<InFlight> ring_;  ///< one place per credit
  // Positions in the ring, counted from the first operation: done_ <= sent_ <= started_ <= done_ + credits.
  std::uint64_t done_ = 0;
  std::uint64_t sent_ = 0;
  std::uint64_t started_ = 0;
  std::size_t payload_in_flight_ = 0;
  Landing landing_;
  Status failed_;
  // Written by the owner only.
  std::atomic<std::uint64_t> bytes_read_{0};
  std::atomic<std::uint64_t> bytes_written_{0};
};

}  // namespace heca::transport
