// SPDX-License-Identifier: LGPL-2.1-or-later
#include "transport/rdma/manager.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <poll.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "transport/socket.h"

namespace heca::transport::rdma {

Status DoNotBlock(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) return Status::FromErrno(errno, "fcntl(O_NONBLOCK)");
  return {};
}

Result<Owned<rdma_event_channel>> OpenEvents() {
  Owned<rdma_event_channel> events(rdma_create_event_channel());
  if (!events) return Status::FromErrno(errno, "opening the RDMA connection manager (is rdma_ucm loaded?)");
  HECA_RETURN_IF_ERROR(DoNotBlock(events->fd));
  return events;
}

Result<Owned<rdma_cm_id>> MakeId(rdma_event_channel& events) {
  rdma_cm_id* id = nullptr;
  if (rdma_create_id(&events, &id, nullptr, RDMA_PS_TCP) != 0) return Status::FromErrno(errno, "rdma_create_id");
  return Owned<rdma_cm_id>(id);
}

Result<Event> TakeEvent(rdma_event_channel& events) {
  rdma_cm_event* event = nullptr;
  if (rdma_get_cm_event(&events, &event) == 0) return Event(event);
  if (errno == EAGAIN || errno == EINTR) return Event();
  return Status::FromErrno(errno, "rdma_get_cm_event", ErrorScope::kConnection);
}

Result<Event> AwaitEvent(rdma_event_channel& events, Deadline deadline) {
  while (true) {
    HECA_ASSIGN_OR_RETURN(auto event, TakeEvent(events));
    if (event) return event;
    if (deadline.Passed()) return Status(ErrorCode::kDeadlineExceeded, "no answer", ErrorScope::kConnection);
    pollfd entry{events.fd, POLLIN, 0};
    ::poll(&entry, 1, deadline.LeftMs());
  }
}

Result<Event> Await(rdma_event_channel& events, rdma_cm_event_type wanted, Deadline deadline) {
  HECA_ASSIGN_OR_RETURN(auto event, AwaitEvent(events, deadline));
  if (event->event == wanted) return event;
  const int reason = event->status < 0 ? -event->status : 0;
  return Status(ErrorCode::kUnavailable, fmt::format("{}{}{}", rdma_event_str(event->event), reason != 0 ? ": " : "",
                                                     reason != 0 ? std::strerror(reason) : ""),
                ErrorScope::kConnection, reason);
}

Result<sockaddr_storage> Resolve(const Endpoint& endpoint, bool passive) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | (passive ? AI_PASSIVE : 0);
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(endpoint.host.c_str(), std::to_string(endpoint.port).c_str(), &hints, &found);
  if (error != 0) {
    return Status(ErrorCode::kUnavailable, fmt::format("{}: {}", endpoint.host, ::gai_strerror(error)), ErrorScope::kConnection);
  }
  sockaddr_storage address{};
  std::memcpy(&address, found->ai_addr, found->ai_addrlen);
  ::freeaddrinfo(found);
  return address;
}

Endpoint ToEndpoint(const sockaddr& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address.sa_family == AF_INET6) {
    const auto& six = reinterpret_cast<const sockaddr_in6&>(address);
    ::inet_ntop(AF_INET6, &six.sin6_addr, text.data(), text.size());
    return {text.data(), ntohs(six.sin6_port)};
  }
  const auto& four = reinterpret_cast<const sockaddr_in&>(address);
  ::inet_ntop(AF_INET, &four.sin_addr, text.data(), text.size());
  return {text.data(), ntohs(four.sin_port)};
}

}  // namespace heca::transport::rdma
