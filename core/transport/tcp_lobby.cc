// SPDX-License-Identifier: LGPL-2.1-or-later
#include "transport/tcp_lobby.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "base/log.h"
#include "transport/admit.h"
#include "transport/socket.h"

namespace heca::transport {
namespace {

/// How often strangers that are late with their hello are looked for.
constexpr Millis kLateTick{100};

/// An answer of 256 bytes fits the empty buffer of a new socket; a peer for which it does not is not worth a wait.
Status SendReply(int fd, const wire::HelloReply& reply) {
  std::array<std::byte, wire::kHelloReplySize> bytes{};
  wire::Encode(reply, bytes);
  return SendAll(fd, bytes, Deadline::After(Nanos::zero()));
}

unique_fd OpenSpare() { return unique_fd(::open("/dev/null", O_RDONLY | O_CLOEXEC)); }

void Refuse(int fd, const Status& why) {
  wire::HelloReply reply;
  reply.code = why.code();
  reply.text = why.message();
  if (!SendReply(fd, reply).ok()) return;
  // Closing with unread bytes would reset the connection, and the answer might be lost with it.
  std::array<std::byte, 4096> rest;
  static_cast<void>(::recv(fd, rest.data(), rest.size(), MSG_DONTWAIT));
  ::shutdown(fd, SHUT_WR);
}

}  // namespace

Result<std::unique_ptr<TcpLobby>> TcpLobby::Create(unique_fd listener, const TcpServerOptions& options,
                                                   Admission& admission, Adopt adopt, Served served) {
  HECA_ASSIGN_OR_RETURN(auto epoll, os::EpollSet::Create());
  std::unique_ptr<TcpLobby> lobby(
      new TcpLobby(std::move(listener), options, admission, std::move(adopt), std::move(served), std::move(epoll)));
  return lobby;
}

TcpLobby::TcpLobby(unique_fd listener, const TcpServerOptions& options, Admission& admission, Adopt adopt,
                   Served served, os::EpollSet epoll)
    : listener_(std::move(listener)),
      options_(options),
      admission_(admission),
      adopt_(std::move(adopt)),
      served_(std::move(served)),
      epoll_(std::move(epoll)),
      spare_(OpenSpare()),
      thread_([this] { Run(); }) {}

TcpLobby::~TcpLobby() {
  stop_ = true;
  epoll_.Wake();
  thread_.join();
}

void TcpLobby::Run() {
  // The listener's cookie is this object; every other one is a stranger.
  if (const Status added = epoll_.Add(listener_.get(), EPOLLIN, this); !added.ok()) {
    Log().error("nobody can connect: {}", added.ToString());
    return;
  }
  std::array<epoll_event, 32> room;
  while (!stop_.load(std::memory_order_relaxed)) {
    bool knock = false;
    epoll_.Tick(strangers_.empty() ? Millis(0) : kLateTick);
    for (const epoll_event& event : epoll_.Wait(room, false)) {
      if (event.data.ptr == this) {
        knock = true;  // after the others: to accept may push one of them out
        continue;
      }
      const auto at = std::find_if(strangers_.begin(), strangers_.end(),
                                   [&](const auto& s) { return s.get() == event.data.ptr; });
      if (Hear(**at)) Leave(static_cast<std::size_t>(at - strangers_.begin()));
    }
    if (knock) Accept();
    CutLate();
  }
}

void TcpLobby::Accept() {
  unique_fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!fd) {
    // Out of descriptors: turn this one away with the spare, or the listener would stay readable and this loop spin.
    if (errno != EMFILE && errno != ENFILE) return;
    spare_.reset();
    fd.reset(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    fd.reset();
    spare_ = OpenSpare();
    return;
  }
  if (!TuneTcp(fd.get()).ok()) return;
  if (strangers_.size() >= options_.max_strangers) Leave(0);
  auto stranger = std::make_unique<Stranger>(Stranger{std::move(fd), Deadline::After(options_.hello_timeout)});
  if (!epoll_.Add(stranger->fd.get(), EPOLLIN, stranger.get()).ok()) return;
  strangers_.push_back(std::move(stranger));
  count_ = strangers_.size();
}

bool TcpLobby::Hear(Stranger& stranger) {
  const auto rest = std::span(stranger.hello).subspan(stranger.received);
  const ssize_t received = ::recv(stranger.fd.get(), rest.data(), rest.size(), MSG_DONTWAIT);
  if (received < 0) return errno != EAGAIN && errno != EINTR;
  if (received == 0) return true;
  stranger.received += static_cast<std::size_t>(received);
  if (stranger.received < wire::kHelloSize) return false;
  Decide(stranger);
  return true;
}

void TcpLobby::Decide(Stranger& stranger) {
  const int fd = stranger.fd.get();
  const auto heard = wire::DecodeHello(stranger.hello);
  if (!heard.ok()) {
    Log().debug("stranger {} cut off: {}", PeerEndpoint(fd).ToString(), heard.status().ToString());
    if (heard.status().code() == ErrorCode::kUnsupported) Refuse(fd, heard.status());
    return;
  }
  const Hello hello{heard->token, heard->lease, heard->epoch, heard->role};
  auto memory = Admit(admission_, hello, served_(), options_.max_connections);
  if (!memory.ok()) {
    Log().debug("stranger {} refused: {}", PeerEndpoint(fd).ToString(), memory.status().ToString());
    return Refuse(fd, memory.status());
  }
  const std::uint16_t credits = hello.role == Role::kUrgent ? options_.urgent_credits : options_.bulk_credits;
  if (!SendReply(fd, Grant(**memory, credits, options_.window_bytes)).ok()) return;
  epoll_.Remove(fd);
  adopt_(std::move(stranger.fd), hello, std::move(*memory));
}

void TcpLobby::Leave(std::size_t index) {
  strangers_.erase(strangers_.begin() + static_cast<std::ptrdiff_t>(index));
  count_ = strangers_.size();
}

void TcpLobby::CutLate() {
  while (!strangers_.empty() && strangers_.front()->deadline.Passed()) Leave(0);
}

}  // namespace heca::transport
