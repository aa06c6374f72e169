// SPDX-License-Identifier: LGPL-2.1-or-later
#include "transport/tcp_connection.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstring>

#include "transport/slot_batch.h"
#include "transport/socket.h"

namespace heca::transport {
namespace {

/// Calls of recv for one event, so that one busy connection leaves room for the others of its thread.
constexpr int kMaxRounds = 8;

void Count(std::atomic<std::uint64_t>& counter, std::size_t bytes) {
  counter.store(counter.load(std::memory_order_relaxed) + bytes, std::memory_order_relaxed);
}

}  // namespace

TcpConnection::TcpConnection(unique_fd fd, const Hello& hello, std::shared_ptr<SlotMemory> memory,
                             std::span<std::byte> scratch)
    : fd_(std::move(fd)),
      hello_(hello),
      memory_(std::move(memory)),
      peer_(PeerEndpoint(fd_.get()).ToString()),
      page_size_(memory_->PageSize().value()),
      input_limit_(hello.role == Role::kUrgent ? kInput : wire::kMaxRequestSize),
      write_(scratch.first(page_size_)),
      last_sent_(Clock::now()) {}

Status TcpConnection::OnEvents(std::uint32_t events) {
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) hung_up_ = true;
  if ((events & EPOLLIN) != 0 || hung_up_) readable_ = true;
  for (int rounds = 0;;) {
    HECA_ASSIGN_OR_RETURN(const bool hungry, Parse());
    HECA_RETURN_IF_ERROR(Flush());
    if (blocked()) return {};
    if (!hungry) continue;
    if (!readable_ || rounds++ == kMaxRounds) return {};
    HECA_RETURN_IF_ERROR(ReceiveSome());
  }
}

Result<bool> TcpConnection::Parse() {
  while (answers_.HasRoom()) {
    if (write_.active()) {
      begin_ += write_.TakeFrom(Input());
      if (!write_.complete()) return true;
      HECA_RETURN_IF_ERROR(CheckOwner(*memory_, hello_));
      FinishWrite();
    } else {
      HECA_ASSIGN_OR_RETURN(const bool parsed, ParseOne());
      if (!parsed) return true;
    }
  }
  return false;
}

Result<bool> TcpConnection::ParseOne() {
  const auto input = Input();
  if (input.size() < wire::kRequestHeaderSize) return false;
  HECA_ASSIGN_OR_RETURN(const auto header, wire::DecodeRequestHeader(input.first<wire::kRequestHeaderSize>()));
  HECA_RETURN_IF_ERROR(CheckRequest(header, hello_.role, page_size_));
  const std::size_t size = wire::RequestSize(header.count);
  if (input.size() < size) return false;
  std::array<Slot, wire::kMaxBatch> slots;
  HECA_RETURN_IF_ERROR(wire::DecodeSlots(
      header, input.subspan(wire::kRequestHeaderSize, size - wire::kRequestHeaderSize), slots));
  HECA_RETURN_IF_ERROR(CheckOwner(*memory_, hello_));
  begin_ += size;
  Handle(header, std::span(slots).first(header.count));
  return true;
}

void TcpConnection::Handle(const wire::RequestHeader& header, std::span<const Slot> slots) {
  switch (header.kind) {
    case wire::RequestKind::kRead: {
      std::array<std::span<const std::byte>, wire::kMaxBatch> pages;
      const BatchOutcome outcome = PagesForRead(*memory_, slots, pages);
      const std::size_t count = outcome.ok() ? slots.size() : 0;
      answers_.Add({outcome.code, static_cast<std::uint16_t>(count), outcome.slot, header.id},
                   std::span(pages).first(count));
      return;
    }
    case wire::RequestKind::kWrite: return write_.Begin(*memory_, header, slots, Attempt::kFirst);
    case wire::RequestKind::kWriteAgain: return write_.Begin(*memory_, header, slots, Attempt::kRepeated);
    case wire::RequestKind::kRelease: {
      const BatchOutcome outcome = ReleaseAll(*memory_, slots);
      return answers_.Add({outcome.code, 0, outcome.slot, header.id}, {});
    }
    case wire::RequestKind::kInvalid: break;
  }
}

void TcpConnection::FinishWrite() {
  const BatchOutcome outcome = write_.Finish(*memory_);
  answers_.Add({outcome.code, 0, outcome.slot, write_.id()}, {});
}

Status TcpConnection::ReceiveSome() {
  if (begin_ > 0) {
    std::memmove(input_.data(), input_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  const iovec behind{input_.data() + end_, input_limit_ - end_};
  std::size_t wanted = behind.iov_len;
  ssize_t received = 0;
  if (write_.active()) {
    // The rest of the payload, and behind it the next request.
    const auto parts = write_.Rest();
    parts.back() = behind;
    wanted += write_.left();
    received = ::readv(fd_.get(), parts.data(), static_cast<int>(parts.size()));
  } else {
    received = ::recv(fd_.get(), behind.iov_base, behind.iov_len, MSG_DONTWAIT);
  }
  if (received == 0) return ConnectionLost(0, "receiving");
  if (received < 0) {
    if (errno == EINTR) return {};
    if (errno == EAGAIN) {
      readable_ = false;
      return {};
    }
    return ConnectionLost(errno, "receiving");
  }
  const auto bytes = static_cast<std::size_t>(received);
  Count(bytes_in_, bytes);
  const std::size_t payload = std::min(bytes, write_.active() ? write_.left() : 0);
  if (payload > 0) write_.Received(payload);
  end_ += bytes - payload;
  // Less than there was room for: the socket is empty, and an edge will tell of more. The end of the stream has no edge
  // of its own if it came with these bytes.
  if (bytes < wanted && !hung_up_) readable_ = false;
  return {};
}

Status TcpConnection::Flush() {
  if (answers_.empty()) return {};
  HECA_ASSIGN_OR_RETURN(const std::size_t sent, answers_.Flush(fd_.get()));
  Count(bytes_out_, sent);
  // The clock is only asked when somebody will want to know.
  if (blocked() && (sent > 0 || !was_blocked_)) last_sent_ = Clock::now();
  was_blocked_ = blocked();
  return {};
}

ConnectionInfo TcpConnection::Info() const {
  return {peer_, hello_.role, hello_.lease, bytes_in_.load(std::memory_order_relaxed),
          bytes_out_.load(std::memory_order_relaxed)};
}

}  // namespace heca::transport
