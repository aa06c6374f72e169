// SPDX-License-Identifier: LGPL-2.1-or-later
#include "transport/socket.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <memory>

namespace heca::transport {
namespace {

// Keepalive probes start after this much silence and repeat at this interval, in seconds (the kernel's least).
constexpr int kProbeSeconds = 1;

struct FreeAddresses {
  void operator()(addrinfo* list) const { ::freeaddrinfo(list); }
};
using Addresses = std::unique_ptr<addrinfo, FreeAddresses>;

Result<Addresses> Resolve(const Endpoint& endpoint, int flags) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV;
  addrinfo* list = nullptr;
  const int error = ::getaddrinfo(endpoint.host.c_str(), std::to_string(endpoint.port).c_str(), &hints, &list);
  if (error != 0) {
    return Status(ErrorCode::kUnavailable,
                  fmt::format("cannot resolve {}: {}; check the name or give an address", endpoint.ToString(),
                              ::gai_strerror(error)),
                  ErrorScope::kConnection);
  }
  return Addresses(list);
}

Status SetOption(int fd, int level, int name, int value, std::string_view what) {
  if (::setsockopt(fd, level, name, &value, sizeof value) == 0) return {};
  return Status::FromErrno(errno, what, ErrorScope::kConnection);
}

/// Waits until the socket is ready or the deadline passes.
Status Wait(int fd, short events, Deadline deadline, std::string_view doing) {
  while (true) {
    pollfd entry{fd, events, 0};
    const int ready = ::poll(&entry, 1, deadline.LeftMs());
    if (ready > 0) return {};
    if (ready < 0 && errno != EINTR) return Status::FromErrno(errno, "poll", ErrorScope::kConnection);
    if (deadline.Passed()) {
      return {ErrorCode::kDeadlineExceeded, fmt::format("no answer in time while {}", doing), ErrorScope::kConnection};
    }
  }
}

Result<unique_fd> ConnectTo(const addrinfo& address, Deadline deadline) {
  unique_fd fd(::socket(address.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return Status::FromErrno(errno, "socket", ErrorScope::kConnection);
  HECA_RETURN_IF_ERROR(TuneTcp(fd.get()));
  if (::connect(fd.get(), address.ai_addr, address.ai_addrlen) == 0) return fd;
  if (errno != EINPROGRESS) return ConnectionLost(errno, "connecting");
  HECA_RETURN_IF_ERROR(Wait(fd.get(), POLLOUT, deadline, "connecting"));
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  if (error != 0) return ConnectionLost(error, "connecting");
  return fd;
}

Endpoint ToEndpoint(const sockaddr_storage& address) {
  char text[INET6_ADDRSTRLEN] = "";
  Endpoint endpoint;
  if (address.ss_family == AF_INET) {
    sockaddr_in in{};
    std::memcpy(&in, &address, sizeof in);
    ::inet_ntop(AF_INET, &in.sin_addr, text, sizeof text);
    endpoint.port = ntohs(in.sin_port);
  } else if (address.ss_family == AF_INET6) {
    sockaddr_in6 in{};
    std::memcpy(&in, &address, sizeof in);
    ::inet_ntop(AF_INET6, &in.sin6_addr, text, sizeof text);
    endpoint.port = ntohs(in.sin6_port);
  }
  endpoint.host = text;
  return endpoint;
}

template <class Name>
Endpoint NameOf(int fd, Name name) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (name(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return {"?", 0};
  return ToEndpoint(address);
}

}  // namespace

Result<unique_fd> ListenTcp(const Endpoint& endpoint, int backlog) {
  HECA_ASSIGN_OR_RETURN(const Addresses addresses, Resolve(endpoint, AI_PASSIVE));
  const auto& address = *addresses;
  unique_fd fd(::socket(address.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return Status::FromErrno(errno, "socket", ErrorScope::kNode);
  HECA_RETURN_IF_ERROR(SetOption(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR"));
  if (::bind(fd.get(), address.ai_addr, address.ai_addrlen) != 0 || ::listen(fd.get(), backlog) != 0) {
    return Status::FromErrno(errno, fmt::format("cannot listen on {}", endpoint.ToString()), ErrorScope::kNode);
  }
  return fd;
}

Result<unique_fd> ConnectTcp(const Endpoint& endpoint, Deadline deadline) {
  HECA_ASSIGN_OR_RETURN(const Addresses addresses, Resolve(endpoint, 0));
  Status last;
  for (const addrinfo* address = addresses.get(); address != nullptr; address = address->ai_next) {
    auto fd = ConnectTo(*address, deadline);
    if (fd.ok()) return fd;
    last = fd.status();
    if (deadline.Passed()) break;
  }
  return last.WithContext(endpoint.ToString());
}

Status TuneTcp(int fd) {
  HECA_RETURN_IF_ERROR(SetOption(fd, IPPROTO_TCP, TCP_NODELAY, 1, "TCP_NODELAY"));
  HECA_RETURN_IF_ERROR(SetOption(fd, SOL_SOCKET, SO_KEEPALIVE, 1, "SO_KEEPALIVE"));
  HECA_RETURN_IF_ERROR(SetOption(fd, IPPROTO_TCP, TCP_KEEPIDLE, kProbeSeconds, "TCP_KEEPIDLE"));
  HECA_RETURN_IF_ERROR(SetOption(fd, IPPROTO_TCP, TCP_KEEPINTVL, kProbeSeconds, "TCP_KEEPINTVL"));
  // The user timeout takes the place of a count of probes, and bounds retransmission and zero windows too.
  return SetOption(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<int>(kPeerTimeout.count()), "TCP_USER_TIMEOUT");
}

Endpoint LocalEndpoint(int fd) { return NameOf(fd, ::getsockname); }
Endpoint PeerEndpoint(int fd) { return NameOf(fd, ::getpeername); }

Status SendAll(int fd, std::span<const std::byte> bytes, Deadline deadline) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN) {
      HECA_RETURN_IF_ERROR(Wait(fd, POLLOUT, deadline, "sending"));
    } else if (errno != EINTR) {
      return ConnectionLost(errno, "sending");
    }
  }
  return {};
}

Status ReceiveAll(int fd, std::span<std::byte> bytes, Deadline deadline) {
  while (!bytes.empty()) {
    const ssize_t received = ::recv(fd, bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (received > 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(received));
    } else if (received == 0) {
      return ConnectionLost(0, "receiving");
    } else if (errno == EAGAIN) {
      HECA_RETURN_IF_ERROR(Wait(fd, POLLIN, deadline, "receiving"));
    } else if (errno != EINTR) {
      return ConnectionLost(errno, "receiving");
    }
  }
  return {};
}

Status ConnectionLost(int sys_errno, std::string_view doing) {
  if (sys_errno == 0) {
    return {ErrorCode::kUnavailable, fmt::format("the peer closed the connection while {}", doing),
            ErrorScope::kConnection};
  }
  return {ErrorCode::kUnavailable, fmt::format("connection lost while {}: {}", doing, std::strerror(sys_errno)),
          ErrorScope::kConnection, sys_errno};
}

}  // namespace heca::transport
