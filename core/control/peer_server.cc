// SPDX-License-Identifier: LGPL-2.1-or-later
#include "control/peer_server.h"

#include <netdb.h>
#include <sys/socket.h>

#include <cerrno>
#include <optional>
#include <utility>
#include <vector>

#include "base/unique_fd.h"
#include "control/credentials.h"
#include "control/grpc_server.h"
#include "control/migration_service.h"
#include "control/sponsor_service.h"

namespace heca::control {
namespace {

constexpr int kMaxThreads = 34;              // 32 calls, two that wait for work
constexpr std::size_t kMaxMemory = 64 << 20;
constexpr int kMaxMessage = 64 << 10;        // the largest request is 64 names

Status Explain(int sys_errno, const std::string& address) {
  switch (sys_errno) {
    case EADDRINUSE:
      return Status(ErrorCode::kFailedPrecondition,
                    "port in use: another program (another hecad?) listens on " + address +
                        "; stop it (ss -lptn shows it) or choose another control port",
                    ErrorScope::kNode, sys_errno);
    case EADDRNOTAVAIL:
      return Status(ErrorCode::kInvalidArgument,
                    address + " is no address of this host: choose one that `ip address` shows, or 0.0.0.0",
                    ErrorScope::kNode, sys_errno);
    default: return Status::FromErrno(sys_errno, "cannot listen on " + address, ErrorScope::kNode);
  }
}

/// Binds and lets go again, because gRPC does not tell why a bind failed.
Status TryToBind(const PeerServerOptions& options, const std::string& address) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(options.host.c_str(), std::to_string(options.port).c_str(), &hints, &found);
  if (error != 0) {
    return Status(ErrorCode::kInvalidArgument, "cannot listen on " + address + ": " + ::gai_strerror(error),
                  ErrorScope::kNode);
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owned(found, &::freeaddrinfo);
  const unique_fd fd(::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return Status::FromErrno(errno, "socket for " + address, ErrorScope::kNode);
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);  // as gRPC does; old connections do not matter
  if (::bind(fd.get(), found->ai_addr, found->ai_addrlen) != 0) return Explain(errno, address);
  return Status();
}

}  // namespace

class PeerServer::Impl {
 public:
  Impl(SponsorApi& sponsor, MigrationApi* migrations) : sponsor_(sponsor) {
    if (migrations != nullptr) migrations_.emplace(*migrations);
  }

  Status Start(const PeerServerOptions& options) {
    const bool ipv6 = options.host.find(':') != std::string::npos;
    const std::string address = (ipv6 ? "[" + options.host + "]" : options.host) + ":" + std::to_string(options.port);
    HECA_RETURN_IF_ERROR(TryToBind(options, address));
    std::vector<grpc::Service*> services = {&sponsor_};
    if (migrations_.has_value()) services.push_back(&*migrations_);
    HECA_ASSIGN_OR_RETURN(server_, GrpcServer::Start({.address = address,
                                                      .credentials = CredentialsOfPeerServer(),
                                                      .name = "peer",
                                                      .max_threads = kMaxThreads,
                                                      .max_memory = kMaxMemory,
                                                      .max_message = kMaxMessage},
                                                     services));
    return Status();
  }

  [[nodiscard]] std::uint16_t port() const { return static_cast<std::uint16_t>(server_->port()); }
  void Stop(Deadline patience) { server_->Stop(patience); }

 private:
  SponsorService sponsor_;
  std::optional<MigrationService> migrations_;
  std::unique_ptr<GrpcServer> server_;  // after the services: its calls end first
};

Result<std::unique_ptr<PeerServer>> PeerServer::Start(const PeerServerOptions& options, SponsorApi& sponsor,
                                                      MigrationApi* migrations) {
  auto impl = std::make_unique<Impl>(sponsor, migrations);
  HECA_RETURN_IF_ERROR(impl->Start(options));
  return std::unique_ptr<PeerServer>(new PeerServer(std::move(impl)));
}

PeerServer::PeerServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
PeerServer::~PeerServer() = default;
std::uint16_t PeerServer::port() const { return impl_->port(); }
void PeerServer::Stop(Deadline patience) { impl_->Stop(patience); }

}  // namespace heca::control
