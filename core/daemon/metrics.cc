// SPDX-License-Identifier: LGPL-2.1-or-later
#include "daemon/metrics.h"

#include <fmt/format.h>
#include <prometheus/client_metric.h>
#include <prometheus/exposer.h>

#include <limits>
#include <utility>

#include "control/region_stats.h"

namespace heca::daemon {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

double Seconds(std::uint64_t nanos) { return static_cast<double>(nanos) / 1e9; }

/// One family under construction.
class Family {
 public:
  Family(std::string name, std::string help, MetricType type)
      : made_{std::move(name), std::move(help), type, {}} {}

  void Add(Labels labels, double value) {
    ClientMetric metric;
    metric.label = std::move(labels);
    if (made_.type == MetricType::Counter) metric.counter.value = value;
    if (made_.type == MetricType::Gauge) metric.gauge.value = value;
    made_.metric.push_back(std::move(metric));
  }
  void Add(Labels labels, std::uint64_t value) { Add(std::move(labels), static_cast<double>(value)); }
  void Add(Labels labels, Bytes value) { Add(std::move(labels), value.value()); }
  void Add(Labels labels, const control::LatencyStats& latency) {
    ClientMetric metric;
    metric.label = std::move(labels);
    metric.histogram.sample_count = latency.count;
    metric.histogram.sample_sum = Seconds(latency.sum_ns);
    for (const auto& bucket : latency.buckets) {
      metric.histogram.bucket.push_back({bucket.count, Seconds(bucket.bound_ns)});
    }
    metric.histogram.bucket.push_back({latency.count, std::numeric_limits<double>::infinity()});
    made_.metric.push_back(std::move(metric));
  }
  void MoveTo(std::vector<MetricFamily>& out) {
    if (!made_.metric.empty()) out.push_back(std::move(made_));
  }

 private:
  MetricFamily made_;
};

Family Counter(std::string name, std::string help) {
  return {std::move(name), std::move(help), MetricType::Counter};
}
Family Gauge(std::string name, std::string help) {
  return {std::move(name), std::move(help), MetricType::Gauge};
}

/// A family with one value a region.
struct PerRegion {
  Family family;
  std::uint64_t (*value)(const control::RegionStats&);
};

std::vector<PerRegion> SimpleFamilies() {
  using S = control::RegionStats;
  std::vector<PerRegion> families;
  const auto add = [&](Family family, std::uint64_t (*value)(const S&)) {
    families.push_back({std::move(family), value});
  };
  add(Gauge("heca_resident_bytes", "Bytes of the region that are on this host"),
      [](const S& s) { return s.resident.value(); });
  add(Gauge("heca_limit_bytes", "Bytes of the region that may be on this host"),
      [](const S& s) { return s.limit.value(); });
  add(Counter("heca_prefetch_issued_total", "Pages fetched ahead of demand"),
      [](const S& s) { return s.prefetch_issued; });
  add(Counter("heca_prefetch_hits_total", "Pages fetched ahead and then touched"),
      [](const S& s) { return s.prefetch_hits; });
  add(Counter("heca_eviction_cancels_total", "Pages written by the guest while they were on the way out"),
      [](const S& s) { return s.cancels; });
  add(Counter("heca_refaults_total", "Pages that somebody waited for after they had been evicted"),
      [](const S& s) { return s.refaults; });
  add(Counter("heca_io_waits_total", "Times that write-back waited for disk I/O in flight"),
      [](const S& s) { return s.waits_for_io; });
  add(Counter("heca_local_enomem_total", "Placings that found no local memory and were repeated"),
      [](const S& s) { return s.local_enomem; });
  add(Counter("heca_alarms_total", "Repaired states that should never occur"),
      [](const S& s) { return s.alarms; });
  add(Counter("heca_pages_lost_total", "Pages whose last copy was lost"),
      [](const S& s) { return s.pages_lost; });
  add(Counter("heca_vm_stops_total", "Times that the VM was stopped because pages were out of reach"),
      [](const S& s) { return s.vm_stops; });
  return families;
}

void AddConnection(Family& family, const control::ConnectionInfo& connection) {
  for (const auto& [direction, bytes] :
       {std::pair{"in", connection.bytes_in}, std::pair{"out", connection.bytes_out}}) {
    family.Add({{"connection", connection.text},
                {"direction", direction},
                {"region", connection.region},
                {"role", connection.role}},
               bytes);
  }
}

void CollectRegions(const std::vector<control::RegionStats>& stats, Family& connections,
                    std::vector<MetricFamily>& out) {
  auto latency =
      Family("heca_fault_latency_seconds", "From reading a fault to waking the thread, by what answered it",
             MetricType::Histogram);
  auto pages = Gauge("heca_pages", "Pages of the region by state, in units of its page size");
  auto evictions =
      Counter("heca_evictions_total", "Pages dropped here: sent, clean (a copy is away) or zero");
  auto stop = Gauge("heca_capture_stop_seconds", "How long the guest stood still at attach");
  std::vector<PerRegion> simple = SimpleFamilies();
  for (const control::RegionStats& s : stats) {
    const auto labels = [&s](const char* name, std::string_view value) {
      return Labels{{"region", s.region}, {name, std::string(value)}};
    };
    for (const control::FaultStats& f : s.faults)
      latency.Add(labels("source", ToString(f.source)), f.latency);
    const control::PageStates& p = s.pages;
    for (const auto& [state, count] : {std::pair{"zero", p.zero}, std::pair{"here_clean", p.here_clean},
                                       std::pair{"here_dirty", p.here_dirty}, std::pair{"away", p.away},
                                       std::pair{"coming", p.coming}, std::pair{"leaving", p.leaving},
                                       std::pair{"dropping", p.dropping}, std::pair{"cancel", p.cancel}}) {
      pages.Add(labels("state", state), count);
    }
    const std::uint64_t unsent = s.clean_drops + s.zero_drops;
    evictions.Add(labels("kind", "sent"), s.evictions > unsent ? s.evictions - unsent : 0);
    evictions.Add(labels("kind", "clean"), s.clean_drops);
    evictions.Add(labels("kind", "zero"), s.zero_drops);
    stop.Add({{"region", s.region}}, Seconds(static_cast<std::uint64_t>(s.capture_stop.count())));
    for (PerRegion& one : simple) one.family.Add({{"region", s.region}}, one.value(s));
    for (const control::ConnectionInfo& connection : s.connections) AddConnection(connections, connection);
  }
  for (Family* family : {&latency, &pages, &evictions, &stop}) family->MoveTo(out);
  for (PerRegion& one : simple) one.family.MoveTo(out);
}

void CollectNode(const control::NodeInfo& node, std::vector<MetricFamily>& out) {
  auto build = Gauge("heca_build_info", "1; the labels say which hecad this is");
  build.Add({{"node", node.name}, {"version", node.version}}, 1.0);
  auto regions = Gauge("heca_regions", "Regions under governance");
  regions.Add({}, std::uint64_t{node.regions});
  auto uptime = Gauge("heca_uptime_seconds", "Since hecad started");
  uptime.Add({}, static_cast<double>(node.uptime.count()) / 1e3);
  auto donated = Gauge("heca_donated_bytes", "Memory offered to other nodes");
  donated.Add({}, node.donated);
  auto lent = Gauge("heca_lent_bytes", "Memory in use by other nodes");
  lent.Add({}, node.lent);
  auto quarantined = Gauge("heca_quarantined_bytes", "Lent memory whose borrower is silent");
  quarantined.Add({}, node.quarantined);
  for (Family* family : {&build, &regions, &uptime, &donated, &lent, &quarantined}) family->MoveTo(out);
  for (const control::NamedCounter& counter : node.counters) {
    auto family = Counter("heca_" + counter.name, "Counter of hecad");
    family.Add({}, counter.value);
    family.MoveTo(out);
  }
}

/// Connections of this node that belong to no region: those that other nodes opened.
void CollectAccepted(const std::vector<control::PeerInfo>& peers, Family& connections) {
  for (const control::PeerInfo& peer : peers) {
    for (const control::ConnectionInfo& connection : peer.connections) {
      if (!connection.outgoing) AddConnection(connections, connection);
    }
  }
}

}  // namespace

std::vector<MetricFamily> NodeCollectable::Collect() const {
  std::vector<MetricFamily> out;
  auto connections = Counter("heca_connection_bytes_total", "Bytes on each data connection");
  const auto node = api_.About();
  const auto stats = api_.Stats("");
  const auto peers = api_.Nodes();
  if (node.ok()) CollectNode(*node, out);
  if (stats.ok()) CollectRegions(*stats, connections, out);
  if (peers.ok()) CollectAccepted(*peers, connections);
  connections.MoveTo(out);
  auto up = Gauge("heca_up", "1 if hecad could tell all of its numbers");
  up.Add({}, node.ok() && stats.ok() && peers.ok() ? 1.0 : 0.0);
  up.MoveTo(out);
  return out;
}

MetricsServer::MetricsServer(std::shared_ptr<NodeCollectable> collectable,
                             std::unique_ptr<prometheus::Exposer> exposer)
    : collectable_(std::move(collectable)), exposer_(std::move(exposer)) {}

MetricsServer::~MetricsServer() = default;

int MetricsServer::port() const { return exposer_->GetListeningPorts().front(); }

Result<std::unique_ptr<MetricsServer>> MetricsServer::Start(const std::string& address,
                                                            control::NodeApi& api) {
  try {
    auto collectable = std::make_shared<NodeCollectable>(api);
    auto exposer = std::make_unique<prometheus::Exposer>(address, 2);
    exposer->RegisterCollectable(collectable);
    return std::unique_ptr<MetricsServer>(new MetricsServer(std::move(collectable), std::move(exposer)));
  } catch (const std::exception& error) {
    return Status(ErrorCode::kFailedPrecondition,
                  fmt::format("metrics-listen: cannot serve on {} ({}): is the port in use? See: ss -ltnp",
                              address, error.what()),
                  ErrorScope::kNode);
  }
}

}  // namespace heca::daemon
