// SPDX-License-Identifier: LGPL-2.1-or-later
#include "transport/rdma/introduction.h"

#include <array>
#include <cerrno>

#include "transport/rdma/manager.h"
#include "transport/rdma/rdma_channel.h"

namespace heca::transport::rdma {
namespace {

std::span<const std::byte> PrivateData(const rdma_cm_event& event) {
  return {static_cast<const std::byte*>(event.param.conn.private_data), event.param.conn.private_data_len};
}

/// An id that has found a device and a way to the endpoint.
Result<Owned<rdma_cm_id>> Route(rdma_event_channel& events, const Endpoint& endpoint, Deadline deadline) {
  HECA_ASSIGN_OR_RETURN(auto address, Resolve(endpoint, false));
  HECA_ASSIGN_OR_RETURN(auto id, MakeId(events));
  if (rdma_resolve_addr(id.get(), nullptr, reinterpret_cast<sockaddr*>(&address), deadline.LeftMs()) != 0) {
    return Status::FromErrno(errno, "finding the RDMA device that leads there", ErrorScope::kConnection);
  }
  HECA_RETURN_IF_ERROR(Await(events, RDMA_CM_EVENT_ADDR_RESOLVED, deadline).status());
  if (rdma_resolve_route(id.get(), deadline.LeftMs()) != 0) {
    return Status::FromErrno(errno, "finding the way over RDMA", ErrorScope::kConnection);
  }
  HECA_RETURN_IF_ERROR(Await(events, RDMA_CM_EVENT_ROUTE_RESOLVED, deadline).status());
  return id;
}

/// The server's reply, or why there is none.
Result<wire::RdmaReply> Greet(Link& link, const Hello& hello, Deadline deadline) {
  std::array<std::byte, wire::kRdmaHelloSize> said{};
  wire::Encode(wire::RdmaHello{{hello.token, hello.lease, hello.epoch, hello.role}, link.OurPulse()}, said);
  auto parameters = link.Parameters(said);
  if (rdma_connect(&link.id(), &parameters) != 0) return Status::FromErrno(errno, "rdma_connect", ErrorScope::kConnection);
  HECA_ASSIGN_OR_RETURN(const auto event, AwaitEvent(link.events(), deadline));
  if (event->event == RDMA_CM_EVENT_ESTABLISHED) return wire::DecodeRdmaReply(PrivateData(*event));
  if (event->event == RDMA_CM_EVENT_REJECTED) {
    if (const auto refusal = wire::DecodeRefusal(PrivateData(*event)); refusal.ok()) {
      return Status(refusal->code, refusal->text, ErrorScope::kConnection);
    }
  }
  return Status(ErrorCode::kUnavailable, rdma_event_str(event->event), ErrorScope::kConnection);
}

}  // namespace

Result<Introduced> Introduce(const Endpoint& endpoint, const Hello& hello, Deadline deadline) {
  HECA_ASSIGN_OR_RETURN(auto events, OpenEvents());
  HECA_ASSIGN_OR_RETURN(auto id, Route(*events, endpoint, deadline));
  HECA_ASSIGN_OR_RETURN(auto domain, MakeDomain(*id->verbs));
  auto link = std::make_unique<Link>(std::move(events), std::move(id), std::move(domain));
  HECA_RETURN_IF_ERROR(link->Open(RdmaChannel::MostDepth()));
  HECA_ASSIGN_OR_RETURN(auto answers, RdmaChannel::MakeAnswers(*link));
  HECA_ASSIGN_OR_RETURN(const auto reply, Greet(*link, hello, deadline));
  link->Connected(reply.pulse);
  return Introduced{std::move(link), std::move(answers), reply};
}

}  // namespace heca::transport::rdma
