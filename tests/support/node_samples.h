// SPDX-License-Identifier: LGPL-2.1-or-later
// Fixed answers of a hecad, for tests of what hecactl and the metrics make of them.
#pragma once

#include "control/migration_types.h"
#include "control/node_types.h"
#include "control/region_stats.h"
#include "control/sponsor_api.h"

namespace heca::testing {

inline constexpr std::uint64_t kMiB = 1ULL << 20;

inline control::RegionInfo SampleRegion() {
  control::RegionInfo region;
  region.name = "vm1";
  region.state = control::RegionState::kActive;
  region.pid = 4711;
  region.domain = "vm1";
  region.blocks = {{"pc.ram", "/dev/shm/ram/vm1/pc.ram", Bytes(1024 * kMiB)}};
  region.size = Bytes(1024 * kMiB);
  region.page_size = kBasePage;
  region.limit = Bytes(256 * kMiB);
  region.resident = Bytes(250 * kMiB);
  region.away = Bytes(700 * kMiB);
  region.lost = Bytes(8192);
  region.page_loss = control::PageLoss::kWait;
  region.replicas = 1;
  region.stores = {{"m1", "10.1.0.3:7301", "tcp", LeaseId(7), Epoch(2), control::StoreState::kDisconnected,
                    Bytes(1024 * kMiB), Bytes(700 * kMiB)}};
  region.io_rule = "none needed: no direct disk I/O";
  region.capture_stop = Nanos(310'000);
  region.attached_at = control::WallTime(std::chrono::milliseconds(1'769'860'800'250));
  region.trouble = "sponsor m1 is away";
  return region;
}

inline control::NodeInfo SampleNode() {
  control::NodeInfo node;
  node.name = "c1";
  node.version = "0.1.0";
  node.boot_id = "b00t";
  node.pid = 99;
  node.uptime = Millis(7'500'000);
  node.local_endpoint = "/run/heca/hecad.sock";
  node.peer_endpoint = "127.0.0.1:7300";
  node.data_endpoints = {"tcp 127.0.0.1:7301"};
  node.kernel = {{"uffd-minor-shmem", "yes"}};
  node.donated = Bytes(8192 * kMiB);
  node.lent = Bytes(1024 * kMiB);
  node.free = Bytes(7168 * kMiB);
  node.regions = 1;
  node.counters = {{"sponsor_reconnects_total", 3}};
  return node;
}

inline control::PeerInfo SamplePeer() {
  control::PeerInfo peer;
  peer.name = "m1";
  peer.endpoint = "10.1.0.3:7300";
  peer.failure_domain = "rack2";
  peer.health = control::PeerHealth::kUnreachable;
  peer.donated = Bytes(8192 * kMiB);
  peer.free = Bytes(512 * kMiB);
  peer.rtt = Nanos(180'000);
  peer.transports = {"tcp"};
  peer.connections = {{"tcp 10.1.0.2:40112 -> 10.1.0.3:7301", "urgent", "vm1", LeaseId(7), true, 4096, 32}};
  peer.trouble = "connection refused";
  return peer;
}

inline control::MigrationSummary SampleMigration() {
  control::MigrationSummary summary;
  summary.region = "vm1";
  summary.mode = control::MigrationMode::kHybrid;
  summary.total = Millis(12'300);
  summary.downtime = Nanos(48'000'000);
  summary.memory = Bytes(1024 * kMiB);
  summary.moved = Bytes(256 * kMiB);
  summary.zero = Bytes(768 * kMiB);
  summary.ahead = Bytes(240 * kMiB);
  summary.rounds = 3;
  summary.faults = 1234;
  summary.fault_p50 = Nanos(120'000);
  summary.fault_p99 = Nanos(900'000);
  summary.blocked = Nanos(15'000'000);
  summary.blocktime = control::Blocktime{{Nanos(8'000'000), Nanos(4'500'600)}, Nanos(3'000'000), Nanos(2'500'000)};
  return summary;
}

inline control::MigrationInfo SampleDeparture() {
  control::MigrationInfo info;
  info.image = LeaseId((1ULL << 63) + 3);
  info.domain = "vm1";
  info.destination = "c2";
  info.progress = {"post-copy", 512 * kMiB, 1024 * kMiB, ""};
  info.started = control::WallTime(std::chrono::milliseconds(1'769'860'800'250));
  info.reached = SampleMigration();
  info.reached.mode = control::MigrationMode::kPostCopy;
  return info;
}

inline control::LeaseInfo SampleLease() {
  return {LeaseId(7),
          Epoch(2),
          control::LeaseState::kActive,
          "c1",
          "b00t",
          "vm1",
          kBasePage,
          Bytes(1024 * kMiB),
          Bytes(700 * kMiB),
          Millis(58'000)};
}

inline control::Event SampleEvent() {
  control::Event event;
  event.sequence = 12;
  event.time = control::WallTime(std::chrono::milliseconds(1'769'860'800'250));
  event.severity = control::Severity::kWarning;
  event.kind = control::EventKind::kVmStopped;
  event.region = "vm1";
  event.text = "sponsor m1 is away for 10s";
  event.values = {{"pages", "3"}};
  return event;
}

/// Counters of a region at a moment; `faults` at the sponsor, each between 25 and 50 us.
inline control::RegionStats SampleStats(std::uint64_t faults) {
  control::RegionStats stats;
  stats.region = "vm1";
  stats.page_size = kBasePage;
  stats.pages.away = 1000;
  stats.resident = Bytes(250 * kMiB);
  stats.limit = Bytes(256 * kMiB);
  for (const control::FaultSource source : control::kFaultSources) {
    control::FaultStats one;
    one.source = source;
    const std::uint64_t count = source == control::FaultSource::kSponsor ? faults : 0;
    one.latency.count = count;
    one.latency.sum_ns = count * 40'000;
    for (const std::uint64_t bound : control::kLatencyBoundsNs) {
      one.latency.buckets.push_back({bound, bound >= 50'000 ? count : 0});
    }
    stats.faults.push_back(one);
  }
  stats.prefetch_issued = faults / 10;
  stats.prefetch_hits = faults / 20;
  stats.evictions = faults * 2;
  stats.clean_drops = faults / 2;
  stats.zero_drops = faults / 4;
  stats.alarms = 1;
  stats.vm_stops = 2;
  stats.capture_stop = Nanos(310'000);
  stats.connections = {{"tcp a -> b", "urgent", "vm1", LeaseId(7), true, faults * 4096, faults * 32}};
  return stats;
}

}  // namespace heca::testing
