// SPDX-License-Identifier: LGPL-2.1-or-later
#include "transport/tcp_dialer.h"

#include <array>

#include "transport/socket.h"
#include "transport/tcp_channel.h"
#include "wire/hello.h"

namespace heca::transport {
namespace {

Result<wire::HelloReply> Introduce(int fd, const Hello& hello, Deadline deadline) {
  std::array<std::byte, wire::kHelloSize> request{};
  wire::Encode(wire::Hello{hello.token, hello.lease, hello.epoch, hello.role}, request);
  HECA_RETURN_IF_ERROR(SendAll(fd, request, deadline));
  std::array<std::byte, wire::kHelloReplySize> answer{};
  HECA_RETURN_IF_ERROR(ReceiveAll(fd, answer, deadline));
  HECA_ASSIGN_OR_RETURN(auto reply, wire::DecodeHelloReply(answer));
  if (reply.code != ErrorCode::kOk) return Status(reply.code, reply.text, ErrorScope::kConnection);
  return reply;
}

}  // namespace

Result<std::unique_ptr<Channel>> TcpDialer::Dial(const Endpoint& endpoint, const Hello& hello, Deadline deadline) {
  HECA_ASSIGN_OR_RETURN(auto fd, ConnectTcp(endpoint, deadline));
  const auto reply = Introduce(fd.get(), hello, deadline);
  if (!reply.ok()) return reply.status().WithContext(endpoint.ToString());
  return std::unique_ptr<Channel>(std::make_unique<TcpChannel>(std::move(fd), hello.role, *reply));
}

}  // namespace heca::transport
