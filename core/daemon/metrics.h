// SPDX-License-Identifier: LGPL-2.1-or-later
// hecad's numbers as Prometheus wants them. Nothing is counted here: each scrape reads NodeApi.
// docs/metrics.md is the contract of the names.
#pragma once

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <memory>
#include <string>
#include <vector>

#include "control/node_api.h"
#include "heca/status.h"

namespace prometheus {
class Exposer;
}

namespace heca::daemon {

/// Thread-safe, as NodeApi is. `api` outlives it.
class NodeCollectable final : public prometheus::Collectable {
 public:
  explicit NodeCollectable(control::NodeApi& api) : api_(api) {}
  /// What NodeApi cannot tell now is left out; heca_up says 0 then.
  [[nodiscard]] std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  control::NodeApi& api_;
};

/// Serves http://ADDRESS/metrics until it is destroyed, on two threads of its own.
class MetricsServer {
 public:
  static Result<std::unique_ptr<MetricsServer>> Start(const std::string& address, control::NodeApi& api);
  ~MetricsServer();
  /// The port that was taken, where the address said 0.
  [[nodiscard]] int port() const;

 private:
  MetricsServer(std::shared_ptr<NodeCollectable> collectable, std::unique_ptr<prometheus::Exposer> exposer);
  // shared_ptr because prometheus-cpp registers a weak_ptr. Declared first: the exposer ends before it.
  std::shared_ptr<NodeCollectable> collectable_;
  std::unique_ptr<prometheus::Exposer> exposer_;
};

}  // namespace heca::daemon
