// SPDX-License-Identifier: LGPL-2.1-or-later
#include "transport/rdma/rdma_server.h"

#include "transport/rdma/devices.h"
#include "transport/rdma/rdma_lobby.h"
#include "transport/rdma/registrar.h"
#include "transport/role_loop.h"
#include "wire/limits.h"

namespace heca::transport {
namespace {

Status CheckOptions(const RdmaServerOptions& options) {
  const auto credits_ok = [](std::uint16_t credits) { return credits > 0 && credits <= wire::kMaxCredits; };
  if (credits_ok(options.urgent_credits) && credits_ok(options.bulk_credits) && options.window_bytes > 0 &&
      options.window_bytes <= wire::kMaxWindowBytes && options.max_connections > 0) {
    return {};
  }
  return {ErrorCode::kInvalidArgument, "an RDMA server needs credits, window and connection limits above 0 and within "
                                       "wire/limits.h"};
}

/// A peer that does not take answers shows no pulse: nothing is ever blocked here.
constexpr Millis kNeverBlocked{5000};

}  // namespace

/// The lobby goes first: it hands connections to the loops; and the registrar last.
struct RdmaServer::Parts {
  rdma::Registrar registrar;
  std::unique_ptr<RoleLoop> urgent;
  std::unique_ptr<RoleLoop> bulk;
  std::unique_ptr<rdma::RdmaLobby> lobby;
};

Result<std::unique_ptr<RdmaServer>> RdmaServer::Create(const RdmaServerOptions& options, Admission& admission) {
  HECA_RETURN_IF_ERROR(CheckOptions(options));
  HECA_ASSIGN_OR_RETURN(const auto devices, RdmaDevices());
  if (devices.empty()) return Status(ErrorCode::kUnsupported, "this host has no RDMA device (rdma link show)");
  auto parts = std::make_unique<Parts>();
  HECA_ASSIGN_OR_RETURN(parts->urgent, RoleLoop::Create(Role::kUrgent, kNeverBlocked));
  HECA_ASSIGN_OR_RETURN(parts->bulk, RoleLoop::Create(Role::kBulk, kNeverBlocked));
  auto adopt = [urgent = parts->urgent.get(), bulk = parts->bulk.get()](Role role, std::unique_ptr<Connection> connection) {
    (role == Role::kUrgent ? urgent : bulk)->Adopt(std::move(connection));
  };
  auto served = [urgent = parts->urgent.get(), bulk = parts->bulk.get()] { return urgent->Count() + bulk->Count(); };
  HECA_ASSIGN_OR_RETURN(parts->lobby, rdma::RdmaLobby::Create(options, admission, parts->registrar, std::move(adopt),
                                                              std::move(served)));
  return std::unique_ptr<RdmaServer>(new RdmaServer(std::move(parts)));
}

RdmaServer::RdmaServer(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
RdmaServer::~RdmaServer() = default;

Endpoint RdmaServer::endpoint() const { return parts_->lobby->endpoint(); }

std::vector<ConnectionInfo> RdmaServer::Connections() const {
  std::vector<ConnectionInfo> infos;
  parts_->urgent->AppendInfo(infos);
  parts_->bulk->AppendInfo(infos);
  return infos;
}

}  // namespace heca::transport
