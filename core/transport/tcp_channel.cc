// SPDX-License-Identifier: LGPL-2.1-or-later
#include "transport/tcp_channel.h"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>

#include "transport/socket.h"

namespace heca::transport {
namespace {

/// Answers that are smaller together than this are received by one call.
constexpr std::size_t kReceiveChunk = wire::kMaxBatchBytes;
/// Calls of recv in one Poll: the caller has other things to do.
constexpr int kMaxRounds = 16;

std::size_t LandingCapacity(const wire::HelloReply& granted) {
  const std::size_t largest = std::size_t{granted.max_batch} * granted.page_size;
  return wire::kAnswerSize + std::max(largest, kReceiveChunk);
}

void Count(std::atomic<std::uint64_t>& counter, std::size_t bytes) {
  counter.store(counter.load(std::memory_order_relaxed) + bytes, std::memory_order_relaxed);
}

}  // namespace

TcpChannel::TcpChannel(unique_fd fd, Role role, const wire::HelloReply& granted)
    : fd_(std::move(fd)),
      role_(role),
      page_size_(granted.page_size),
      max_batch_(granted.max_batch),
      window_(granted.window_bytes),
      description_(fmt::format("tcp {} -> {} {}", LocalEndpoint(fd_.get()).ToString(),
                               PeerEndpoint(fd_.get()).ToString(), RoleName(role))),
      ring_(granted.credits),
      landing_(LandingCapacity(granted)) {}

Status TcpChannel::Read(OpTag tag, std::span<const Slot> slots) {
  HECA_RETURN_IF_ERROR(CheckOperation(Operation::kRead, role_, slots, max_batch_));
  return Start(Operation::kRead, wire::RequestKind::kRead, tag, slots, {});
}

Status TcpChannel::Write(OpTag tag, std::span<const Slot> slots, std::span<const std::byte> pages, Attempt attempt) {
  HECA_RETURN_IF_ERROR(CheckWrite(role_, slots, pages, attempt, page_size_, max_batch_));
  const auto kind = attempt == Attempt::kRepeated ? wire::RequestKind::kWriteAgain : wire::RequestKind::kWrite;
  return Start(Operation::kWrite, kind, tag, slots, pages);
}

Status TcpChannel::Release(OpTag tag, std::span<const Slot> slots) {
  HECA_RETURN_IF_ERROR(CheckOperation(Operation::kRelease, role_, slots, max_batch_));
  return Start(Operation::kRelease, wire::RequestKind::kRelease, tag, slots, {});
}

Status TcpChannel::Start(Operation operation, wire::RequestKind kind, OpTag tag, std::span<const Slot> slots,
                         std::span<const std::byte> pages) {
  if (!failed_.ok()) return failed_;
  const std::size_t payload = operation == Operation::kRelease ? 0 : slots.size() * page_size_.value();
  const bool window_full = payload_in_flight_ != 0 && payload_in_flight_ + payload > window_;
  if (started_ - done_ == ring_.size() || window_full) {
    return {ErrorCode::kBusy, "all credits of the connection are in use"};
  }
  InFlight& op = At(started_);
  op.tag = tag;
  op.id = wire::RequestId(++started_);
  op.operation = operation;
  op.payload = payload;
  op.request_size = wire::EncodeRequest(kind, op.id, slots, op.request);
  op.pages = pages;
  op.sent = 0;
  payload_in_flight_ += payload;
  Flush();
  return {};
}

void TcpChannel::Flush() {
  while (sent_ != started_ && failed_.ok()) {
    InFlight& op = At(sent_);
    if (!Send(op)) return;
    if (op.sent == op.request_size + op.pages.size()) ++sent_;
  }
}

bool TcpChannel::Send(InFlight& op) {
  std::array<iovec, 2> parts;
  std::size_t used = 0;
  if (op.sent < op.request_size) parts[used++] = {op.request.data() + op.sent, op.request_size - op.sent};
  if (!op.pages.empty()) {
    const std::size_t skip = op.sent > op.request_size ? op.sent - op.request_size : 0;
    // sendmsg only reads: iovec has no const form.
    parts[used++] = {const_cast<std::byte*>(op.pages.data()) + skip, op.pages.size() - skip};
  }
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = used;
  const ssize_t sent = used == 1 ? ::send(fd_.get(), parts[0].iov_base, parts[0].iov_len, MSG_NOSIGNAL | MSG_DONTWAIT)
                                 : ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent >= 0) {
    op.sent += static_cast<std::size_t>(sent);
    return true;
  }
  if (errno == EINTR) return true;
  if (errno != EAGAIN) Fail(ConnectionLost(errno, "sending"));
  return false;
}

Status TcpChannel::Poll(ChannelSink& sink) {
  Flush();
  Receive(sink);
  return failed_;
}

void TcpChannel::Receive(ChannelSink& sink) {
  for (int round = 0; round < kMaxRounds && failed_.ok(); ++round) {
    const auto room = landing_.Room(Awaited());
    const ssize_t received = ::recv(fd_.get(), room.data(), room.size(), MSG_DONTWAIT);
    if (received < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN) Fail(ConnectionLost(errno, "receiving"));
      return;
    }
    if (received == 0) return Fail(ConnectionLost(0, "receiving"));
    landing_.Received(static_cast<std::size_t>(received));
    while (DeliverOne(sink)) {
    }
    // Nothing more can be there, or the socket had no more: the poll loop will tell.
    if (done_ == started_ || static_cast<std::size_t>(received) < room.size()) return;
  }
}

std::size_t TcpChannel::Awaited() {
  std::size_t bytes = 0;
  for (std::uint64_t position = done_; position != started_; ++position) {
    const InFlight& op = At(position);
    const std::size_t answer = wire::kAnswerSize + (op.operation == Operation::kRead ? op.payload : 0);
    if (bytes != 0 && bytes + answer > kReceiveChunk) break;
    bytes += answer;
  }
  // The first answer is incomplete, so less is there than was counted; unless nothing is awaited at all: then whatever
  // arrives ends the connection.
  return bytes > landing_.size() ? bytes - landing_.size() : wire::kAnswerSize;
}

bool TcpChannel::DeliverOne(ChannelSink& sink) {
  if (landing_.size() < wire::kAnswerSize) return false;
  const auto answer = wire::DecodeAnswer(landing_.Front(wire::kAnswerSize).first<wire::kAnswerSize>());
  if (!answer.ok()) {
    Fail(answer.status());
    return false;
  }
  // An answer to what was not sent, or with pages that were not asked for, would make us read past our buffer.
  const InFlight& op = At(done_);
  const std::size_t pages = answer->code == ErrorCode::kOk && op.operation == Operation::kRead
                                ? op.payload / page_size_.value()
                                : 0;
  if (done_ == sent_ || answer->id != op.id || answer->pages != pages) {
    Fail({ErrorCode::kInternal,
          fmt::format("{} broke the protocol: answer {} with {} pages was not asked for", description_,
                      answer->id.value(), answer->pages),
          ErrorScope::kConnection});
    return false;
  }
  if (landing_.size() < wire::kAnswerSize + pages * page_size_.value()) return false;
  Deliver(op, *answer, sink);
  return true;
}

void TcpChannel::Deliver(const InFlight& op, const wire::Answer& answer, ChannelSink& sink) {
  const std::size_t payload = std::size_t{answer.pages} * page_size_.value();
  const auto pages = landing_.Front(wire::kAnswerSize + payload).subspan(wire::kAnswerSize);
  landing_.Take(wire::kAnswerSize + payload);
  Count(bytes_read_, payload);
  if (op.operation == Operation::kWrite && answer.code == ErrorCode::kOk) Count(bytes_written_, op.payload);
  payload_in_flight_ -= op.payload;
  // The sink may start operations, which may take this place of the ring.
  const Operation operation = op.operation;
  const OpTag tag = op.tag;
  ++done_;
  const Status status = answer.code == ErrorCode::kOk ? Status() : Explain(operation, {answer.code, answer.slot});
  switch (operation) {
    case Operation::kRead: return sink.OnRead(tag, status, pages);
    case Operation::kWrite: return sink.OnWritten(tag, status);
    case Operation::kRelease: return sink.OnReleased(tag, status);
    case Operation::kInvalid: break;
  }
}

void TcpChannel::Fail(Status why) {
  if (failed_.ok()) failed_ = why.WithContext(description_);
}

PollNeed TcpChannel::Need() const {
  const std::uint32_t out = sent_ != started_ ? std::uint32_t{EPOLLOUT} : 0;
  return {fd_.get(), EPOLLIN | out, -1};
}

Channel::Traffic TcpChannel::Moved() const {
  return {bytes_read_.load(std::memory_order_relaxed), bytes_written_.load(std::memory_order_relaxed)};
}

}  // namespace heca::transport
