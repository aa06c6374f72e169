// SPDX-License-Identifier: LGPL-2.1-or-later
#include "daemon/service.h"

#include <cstdint>
#include <cstdlib>
#include <string>
#include <utility>

#include "base/log.h"
#include "base/version.h"
#include "control/local_server.h"
#include "control/peer_server.h"
#include "daemon/listen_address.h"
#include "daemon/metrics.h"
#include "node/node.h"

namespace heca::daemon {
namespace {

/// Calls that still run at a stop are cancelled after this; VMs wait meanwhile, so it is short.
constexpr Millis kStopPatience{500};

node::NodeConfig ToNodeConfig(const Config& config) {
  node::NodeConfig made;
  made.name = config.name;
  made.failure_domain = config.failure_domain;
  made.run_dir = config.run_dir;
  made.compute = config.compute;
  made.resume = config.resume;
  made.socket = config.socket;
  made.control_listen = config.control_listen;
  made.data_listen = config.data_listen;
  made.transport = config.transport;
  for (const Peer& peer : config.peers) made.peers.push_back({peer.name, peer.address, peer.failure_domain});
  made.donate = config.donate;
  made.slab_dir = config.slab_dir;
  made.slab_size = config.slab_size;
  made.reserve = config.reserve;
  made.lease = config.lease;
  made.min_residence = config.min_residence;
  made.prefetch = config.prefetch;
  made.prefetch_max = config.prefetch_max;
  made.io_grace = config.io_grace;
  made.loss_wait = config.loss_wait;
  made.watermark_low = config.watermark_low;
  made.watermark_high = config.watermark_high;
  made.cpu_latency = config.cpu_latency;
  made.version = Version();
  return made;
}

}  // namespace

void SetLogLevel(LogLevel level) {
  if (std::getenv("HECA_LOG") != nullptr) return;  // asked for by hand: stronger than the file
  constexpr spdlog::level::level_enum kLevels[] = {spdlog::level::info,  spdlog::level::trace,
                                                   spdlog::level::debug, spdlog::level::info,
                                                   spdlog::level::warn,  spdlog::level::err};
  Log().set_level(kLevels[static_cast<std::size_t>(level)]);
}

/// Declaration order: everything that listens goes before the node that it serves.
class Service::Impl {
 public:
  explicit Impl(std::unique_ptr<node::Node> node) : node_(std::move(node)) {}

  Status Start(const Config& config) {
    if (control::SponsorApi* sponsor = node_->sponsor(); sponsor != nullptr) {
      const ListenAddress address = SplitAddress(config.control_listen);
      HECA_ASSIGN_OR_RETURN(
          peers_, control::PeerServer::Start(
                      {address.host, static_cast<std::uint16_t>(std::stoul(address.port))}, *sponsor, node_->arrivals()));
      Log().info("lends {} bytes, control plane on {}:{}", config.donate.value(), address.host,
                 peers_->port());
    }
    if (!config.metrics_listen.empty()) {
      HECA_ASSIGN_OR_RETURN(metrics_, MetricsServer::Start(config.metrics_listen, *node_));
    }
    // Last: who can connect finds everything there.
    HECA_ASSIGN_OR_RETURN(
        local_, control::LocalServer::Start({config.socket, config.socket_mode, config.socket_group}, *node_));
    return Status();
  }

  void Stop() {
    const Deadline patience = Deadline::After(kStopPatience);
    if (local_) local_->Stop(patience);
    if (peers_) peers_->Stop(patience);
    metrics_.reset();
  }

 private:
  std::unique_ptr<node::Node> node_;
  std::unique_ptr<control::PeerServer> peers_;
  std::unique_ptr<control::LocalServer> local_;
  std::unique_ptr<MetricsServer> metrics_;
};

Service::Service(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Service::~Service() = default;

Result<std::unique_ptr<Service>> Service::Start(const Config& config) {
  HECA_ASSIGN_OR_RETURN(auto node, node::Node::Create(ToNodeConfig(config)));
  auto impl = std::make_unique<Impl>(std::move(node));
  HECA_RETURN_IF_ERROR(impl->Start(config));
  return std::unique_ptr<Service>(new Service(std::move(impl)));
}

void Service::Stop() { impl_->Stop(); }

}  // namespace heca::daemon
