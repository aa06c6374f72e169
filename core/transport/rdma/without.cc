// SPDX-License-Identifier: LGPL-2.1-or-later
// In place of all other files of this directory where there is no libibverbs: everything else builds and runs.
#include "transport/rdma/devices.h"
#include "transport/rdma/rdma_dialer.h"
#include "transport/rdma/rdma_server.h"

namespace heca::transport {
namespace {

Status Without() { return {ErrorCode::kUnsupported, "this hecad was built without RDMA (libibverbs, librdmacm)"}; }

}  // namespace

struct RdmaServer::Parts {};
RdmaServer::RdmaServer(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
RdmaServer::~RdmaServer() = default;
Result<std::unique_ptr<RdmaServer>> RdmaServer::Create(const RdmaServerOptions&, Admission&) { return Without(); }
Endpoint RdmaServer::endpoint() const { return {}; }
std::vector<ConnectionInfo> RdmaServer::Connections() const { return {}; }

struct RdmaDialer::Books {};
RdmaDialer::RdmaDialer() = default;
RdmaDialer::~RdmaDialer() = default;
Result<std::unique_ptr<Channel>> RdmaDialer::Dial(const Endpoint&, const Hello&, Deadline) { return Without(); }

Result<std::vector<RdmaDevice>> RdmaDevices() { return Without(); }

}  // namespace heca::transport
