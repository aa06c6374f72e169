// SPDX-License-Identifier: LGPL-2.1-or-later
#include "transport/answer_queue.h"

#include <sys/socket.h>

#include <cerrno>

#include "transport/socket.h"

namespace heca::transport {

void AnswerQueue::Add(const wire::Answer& answer, std::span<const std::span<const std::byte>> pages) {
  auto& header = headers_[answers_++];
  wire::Encode(answer, header);
  parts_[end_++] = {header.data(), header.size()};
  for (const auto page : pages) {
    // Slots that follow each other in the slab are sent as one piece. sendmsg only reads: iovec has no const form.
    auto* const base = const_cast<std::byte*>(page.data());
    iovec& last = parts_[end_ - 1];
    if (static_cast<std::byte*>(last.iov_base) + last.iov_len == base) {
      last.iov_len += page.size();
    } else {
      parts_[end_++] = {base, page.size()};
    }
  }
}

Result<std::size_t> AnswerQueue::Flush(int fd) {
  std::size_t total = 0;
  while (!empty()) {
    msghdr message{};
    message.msg_iov = parts_.data() + begin_;
    message.msg_iovlen = end_ - begin_;
    const ssize_t sent = ::sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) return total;
      return ConnectionLost(errno, "sending");
    }
    total += static_cast<std::size_t>(sent);
    begin_ = Advance(std::span(parts_).first(end_), begin_, static_cast<std::size_t>(sent));
  }
  answers_ = begin_ = end_ = 0;
  return total;
}

std::size_t Advance(std::span<iovec> parts, std::size_t begin, std::size_t bytes) {
  while (begin < parts.size() && bytes >= parts[begin].iov_len) bytes -= parts[begin++].iov_len;
  if (bytes > 0) {
    parts[begin].iov_base = static_cast<std::byte*>(parts[begin].iov_base) + bytes;
    parts[begin].iov_len -= bytes;
  }
  return begin;
}

}  // namespace heca::transport
