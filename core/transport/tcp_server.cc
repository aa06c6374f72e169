// SPDX-License-Identifier: LGPL-2.1-or-later
#include "transport/tcp_server.h"

#include "transport/role_loop.h"
#include "transport/socket.h"
#include "transport/tcp_connection.h"
#include "transport/tcp_lobby.h"
#include "wire/limits.h"

namespace heca::transport {
namespace {

constexpr int kBacklog = 64;

Status CheckOptions(const TcpServerOptions& options) {
  const auto credits_ok = [](std::uint16_t credits) { return credits > 0 && credits <= wire::kMaxCredits; };
  if (credits_ok(options.urgent_credits) && credits_ok(options.bulk_credits) && options.window_bytes > 0 &&
      options.window_bytes <= wire::kMaxWindowBytes && options.max_strangers > 0 && options.max_connections > 0) {
    return {};
  }
  return {ErrorCode::kInvalidArgument, "a TCP server needs credits, window and connection limits above 0 and within "
                                       "wire/limits.h"};
}

}  // namespace

/// The lobby goes first: it hands connections to the loops.
struct TcpServer::Parts {
  Endpoint endpoint;
  std::unique_ptr<RoleLoop> urgent;
  std::unique_ptr<RoleLoop> bulk;
  std::unique_ptr<TcpLobby> lobby;
};

Result<std::unique_ptr<TcpServer>> TcpServer::Create(const TcpServerOptions& options, Admission& admission) {
  HECA_RETURN_IF_ERROR(CheckOptions(options));
  HECA_ASSIGN_OR_RETURN(auto listener, ListenTcp(options.listen, kBacklog));
  auto parts = std::make_unique<Parts>();
  parts->endpoint = LocalEndpoint(listener.get());
  HECA_ASSIGN_OR_RETURN(parts->urgent, RoleLoop::Create(Role::kUrgent, options.stall_timeout));
  HECA_ASSIGN_OR_RETURN(parts->bulk, RoleLoop::Create(Role::kBulk, options.stall_timeout));
  auto adopt = [urgent = parts->urgent.get(), bulk = parts->bulk.get()](
                   unique_fd fd, const Hello& hello, std::shared_ptr<SlotMemory> memory) {
    RoleLoop* const loop = hello.role == Role::kUrgent ? urgent : bulk;
    loop->Adopt(std::make_unique<TcpConnection>(std::move(fd), hello, std::move(memory), loop->scratch()));
  };
  auto served = [urgent = parts->urgent.get(), bulk = parts->bulk.get()] { return urgent->Count() + bulk->Count(); };
  HECA_ASSIGN_OR_RETURN(parts->lobby, TcpLobby::Create(std::move(listener), options, admission, std::move(adopt),
                                                       std::move(served)));
  return std::unique_ptr<TcpServer>(new TcpServer(std::move(parts)));
}

TcpServer::TcpServer(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
TcpServer::~TcpServer() = default;

Endpoint TcpServer::endpoint() const { return parts_->endpoint; }

std::vector<ConnectionInfo> TcpServer::Connections() const {
  std::vector<ConnectionInfo> infos;
  parts_->urgent->AppendInfo(infos);
  parts_->bulk->AppendInfo(infos);
  return infos;
}

std::size_t TcpServer::Strangers() const { return parts_->lobby->Strangers(); }

}  // namespace heca::transport
