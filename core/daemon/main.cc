// SPDX-License-Identifier: LGPL-2.1-or-later
// hecad: reads its configuration, builds one node::Node, serves it, and waits for a signal.
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "base/fail_points.h"
#include "base/log.h"
#include "base/version.h"
#include "control/local_server.h"
#include "control/peer_server.h"
#include "daemon/config_load.h"
#include "daemon/listen_address.h"
#include "daemon/metrics.h"
#include "daemon/notify.h"
#include "daemon/preflight.h"
#include "daemon/signals.h"
#include "node/node.h"

namespace heca::daemon {
namespace {

// Documented in hecad(8); packaging/hecad.service does not restart after kRefused.
enum ExitCode : int { kStopped = 0, kFailed = 1, kRefused = 2, kHostLacks = 3 };

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

void SetLogLevel(LogLevel level) {
  if (std::getenv("HECA_LOG") != nullptr) return;  // asked for by hand: stronger than the file
  constexpr spdlog::level::level_enum kLevels[] = {spdlog::level::info,  spdlog::level::trace,
                                                   spdlog::level::debug, spdlog::level::info,
                                                   spdlog::level::warn,  spdlog::level::err};
  Log().set_level(kLevels[static_cast<std::size_t>(level)]);
}

void Tell(std::string_view state) {
  if (const Status told = Notify(state); !told.ok()) Log().warn("{}", told.ToString());
}

int Fail(const Status& status, ExitCode code) {
  fmt::print(stderr, "hecad: {}\n", status.message());
  return code;
}

/// Everything that listens. Destroyed before the node that it serves.
struct Servers {
  std::unique_ptr<control::PeerServer> peers;
  std::unique_ptr<control::LocalServer> local;
  std::unique_ptr<MetricsServer> metrics;

  Status Start(const Config& config, node::Node& node) {
    if (control::SponsorApi* sponsor = node.sponsor(); sponsor != nullptr) {
      const ListenAddress address = SplitAddress(config.control_listen);
      HECA_ASSIGN_OR_RETURN(
          peers, control::PeerServer::Start(
                     {address.host, static_cast<std::uint16_t>(std::stoul(address.port))}, *sponsor, node.arrivals()));
      Log().info("lends {} bytes, control plane on {}:{}", config.donate.value(), address.host,
                 peers->port());
    }
    if (!config.metrics_listen.empty()) {
      HECA_ASSIGN_OR_RETURN(metrics, MetricsServer::Start(config.metrics_listen, node));
    }
    // Last: who can connect finds everything there.
    HECA_ASSIGN_OR_RETURN(
        local, control::LocalServer::Start({config.socket, config.socket_mode, config.socket_group}, node));
    return Status();
  }

  /// May take two seconds (the metrics' HTTP server looks up that rarely). The node serves faults meanwhile.
  void Stop() {
    const Deadline patience = Deadline::After(kStopPatience);
    if (local) local->Stop(patience);
    if (peers) peers->Stop(patience);
    metrics.reset();
  }
};

int Serve(const Config& config) {
  SetLogLevel(config.log_level);
  if (const Status armed = fail_points::ArmFromEnvironment(); !armed.ok()) return Fail(armed, kRefused);
  auto signals = StopSignals::Block();  // before any thread is made
  if (!signals.ok()) return Fail(signals.status(), kFailed);
  if (const Status ready = Preflight(config); !ready.ok()) return Fail(ready, kHostLacks);
  auto node = node::Node::Create(ToNodeConfig(config));
  if (!node.ok()) return Fail(node.status(), kFailed);
  Servers servers;
  if (const Status started = servers.Start(config, **node); !started.ok()) return Fail(started, kFailed);
  Log().info("hecad {} serves as '{}' on {}", Version(), config.name, config.socket);
  Tell("READY=1");
  const Result<int> signal = signals->Wait();
  Tell("STOPPING=1");
  if (signal.ok())
    Log().info("signal {}: stopping; regions stay governed and wait for the next hecad", *signal);
  servers.Stop();
  return signal.ok() ? kStopped : Fail(signal.status(), kFailed);
}

int Main(const std::vector<std::string>& args) {
  const Invocation asked = ParseInvocation(args);
  switch (asked.action) {
    case Action::kRun:
      return Serve(asked.config);
    case Action::kCheckConfig:
      return kStopped;
    case Action::kPrintConfig:
      fmt::print("{}", PrintConfig(asked.config));
      return kStopped;
    case Action::kPrintText:
      fmt::print("{}", asked.text);
      return kStopped;
    case Action::kRefused:
    case Action::kInvalid:
      break;
  }
  for (const std::string& line : asked.problems.lines) fmt::print(stderr, "hecad: {}\n", line);
  return kRefused;
}

}  // namespace
}  // namespace heca::daemon

int main(int argc, char** argv) { return heca::daemon::Main({argv + 1, argv + argc}); }
