// SPDX-License-Identifier: LGPL-2.1-or-later
#include "control/local_server.h"

#include <utility>

#include "control/credentials.h"
#include "control/grpc_server.h"
#include "control/node_service.h"
#include "control/socket_file.h"

namespace heca::control {
namespace {

constexpr int kMaxThreads = 66;  // 64 calls, two that wait for work
constexpr std::size_t kMaxMemory = 128 << 20;
constexpr int kMaxMessage = 1 << 20;

}  // namespace

class LocalServer::Impl {
 public:
  Impl(NodeApi& api, SocketFile file, std::string path)
      : file_(std::move(file)), path_(std::move(path)), service_(api) {}

  Status Start(const LocalServerOptions& options) {
    HECA_ASSIGN_OR_RETURN(server_, GrpcServer::Start({.address = "unix:" + file_.private_path(),
                                                      .credentials = CredentialsOfLocalServer(),
                                                      .name = "local",
                                                      .max_threads = kMaxThreads,
                                                      .max_memory = kMaxMemory,
                                                      .max_message = kMaxMessage},
                                                     {&service_}));
    return file_.Publish(options.mode, options.group);
  }

  [[nodiscard]] const std::string& path() const { return path_; }
  void Stop(Deadline patience) {
    file_.Unpublish();
    server_->Stop(patience);
  }

 private:
  SocketFile file_;  // goes last: it holds the lock
  const std::string path_;
  NodeService service_;
  std::unique_ptr<GrpcServer> server_;  // goes first: its calls use the service
};

Result<std::unique_ptr<LocalServer>> LocalServer::Start(const LocalServerOptions& options, NodeApi& api) {
  HECA_ASSIGN_OR_RETURN(SocketFile file, SocketFile::Prepare(options.socket_path));
  auto impl = std::make_unique<Impl>(api, std::move(file), options.socket_path);
  HECA_RETURN_IF_ERROR(impl->Start(options));
  return std::unique_ptr<LocalServer>(new LocalServer(std::move(impl)));
}

LocalServer::LocalServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LocalServer::~LocalServer() = default;
const std::string& LocalServer::socket_path() const { return impl_->path(); }
void LocalServer::Stop(Deadline patience) { impl_->Stop(patience); }

}  // namespace heca::control
