// SPDX-License-Identifier: LGPL-2.1-or-later
// Every field of NodeApi's answers survives the way through messages.
#include <gtest/gtest.h>

#include <chrono>

#include "base/histogram.h"
#include "control/convert_migration.h"
#include "control/convert_node.h"
#include "support/node_samples.h"

namespace heca::control {
namespace {

template <class Message, class Value>
Value ThereAndBack(const Value& value) {
  Message message;
  ToMessage(value, message);
  Message carried;
  EXPECT_TRUE(carried.ParseFromString(message.SerializeAsString()));
  return FromMessage(carried);
}

const ConnectionInfo kConnection{"tcp a -> b", "bulk", "vm", LeaseId(7), true, 11, 12};

void ExpectSame(const ConnectionInfo& a, const ConnectionInfo& b) {
  EXPECT_EQ(a.text, b.text);
  EXPECT_EQ(a.role, b.role);
  EXPECT_EQ(a.region, b.region);
  EXPECT_EQ(a.lease, b.lease);
  EXPECT_EQ(a.outgoing, b.outgoing);
  EXPECT_EQ(a.bytes_in, b.bytes_in);
  EXPECT_EQ(a.bytes_out, b.bytes_out);
}

TEST(NodeValues, Region) {
  RegionInfo sent;
  sent.name = "vm";
  sent.state = RegionState::kStalled;
  sent.pid = 99;
  sent.domain = "web";
  sent.blocks = {{"pc.ram", "/dev/shm/x", Bytes(123)}, {"dimm1", "/dev/shm/y", Bytes(456)}};
  sent.size = Bytes(579);
  sent.page_size = kHugePage;
  sent.limit = Bytes(300);
  sent.resident = Bytes(200);
  sent.away = Bytes(100);
  sent.lost = Bytes(50);
  sent.page_loss = PageLoss::kPoison;
  sent.replicas = 2;
  sent.stores = {{"m1", "h:1", "tcp", LeaseId(5), Epoch(6), StoreState::kDisconnected, Bytes(8), Bytes(9)}};
  sent.io_rule = "virtio rings";
  sent.capture_stop = Nanos(250'000);
  sent.attached_at = WallTime(std::chrono::microseconds(1'700'000'000'123'456));
  sent.trouble = "sponsor m1 is out of reach";
  const RegionInfo back = ThereAndBack<v1::RegionInfo>(sent);
  EXPECT_EQ(back.name, sent.name);
  EXPECT_EQ(back.state, sent.state);
  EXPECT_EQ(back.pid, sent.pid);
  EXPECT_EQ(back.domain, sent.domain);
  ASSERT_EQ(back.blocks.size(), 2U);
  EXPECT_EQ(back.blocks[1].name, "dimm1");
  EXPECT_EQ(back.blocks[1].path, "/dev/shm/y");
  EXPECT_EQ(back.blocks[1].size, Bytes(456));
  EXPECT_EQ(back.size, sent.size);
  EXPECT_EQ(back.page_size, sent.page_size);
  EXPECT_EQ(back.limit, sent.limit);
  EXPECT_EQ(back.resident, sent.resident);
  EXPECT_EQ(back.away, sent.away);
  EXPECT_EQ(back.lost, sent.lost);
  EXPECT_EQ(back.page_loss, sent.page_loss);
  EXPECT_EQ(back.replicas, sent.replicas);
  ASSERT_EQ(back.stores.size(), 1U);
  EXPECT_EQ(back.stores[0].sponsor, "m1");
  EXPECT_EQ(back.stores[0].endpoint, "h:1");
  EXPECT_EQ(back.stores[0].transport, "tcp");
  EXPECT_EQ(back.stores[0].lease, LeaseId(5));
  EXPECT_EQ(back.stores[0].epoch, Epoch(6));
  EXPECT_EQ(back.stores[0].state, StoreState::kDisconnected);
  EXPECT_EQ(back.stores[0].reserved, Bytes(8));
  EXPECT_EQ(back.stores[0].used, Bytes(9));
  EXPECT_EQ(back.io_rule, sent.io_rule);
  EXPECT_EQ(back.capture_stop, sent.capture_stop);
  EXPECT_EQ(back.attached_at, sent.attached_at);
  EXPECT_EQ(back.trouble, sent.trouble);
}

TEST(NodeValues, Stats) {
  Histogram histogram;
  for (int i = 1; i <= 1000; ++i) histogram.Record(Nanos(i * 1000));
  RegionStats sent;
  sent.region = "vm";
  sent.pages = {1, 2, 3, 4, 5, 6, 7, 8};
  sent.page_size = kBasePage;
  sent.resident = Bytes(10);
  sent.limit = Bytes(11);
  for (const FaultSource source : kFaultSources) sent.faults.push_back({source, Summarize(histogram.Snapshot())});
  sent.prefetch_issued = 21;
  sent.prefetch_hits = 22;
  sent.evictions = 24;
  sent.clean_drops = 25;
  sent.zero_drops = 26;
  sent.cancels = 27;
  sent.refaults = 28;
  sent.waits_for_io = 29;
  sent.local_enomem = 30;
  sent.alarms = 31;
  sent.pages_lost = 32;
  sent.vm_stops = 33;
  sent.capture_stop = Nanos(34);
  sent.io_rule = "none needed";
  sent.connections = {kConnection};
  const RegionStats back = ThereAndBack<v1::RegionStats>(sent);
  EXPECT_EQ(back.region, sent.region);
  EXPECT_EQ(back.pages.zero, 1U);
  EXPECT_EQ(back.pages.here_clean, 2U);
  EXPECT_EQ(back.pages.here_dirty, 3U);
  EXPECT_EQ(back.pages.away, 4U);
  EXPECT_EQ(back.pages.coming, 5U);
  EXPECT_EQ(back.pages.leaving, 6U);
  EXPECT_EQ(back.pages.dropping, 7U);
  EXPECT_EQ(back.pages.cancel, 8U);
  EXPECT_EQ(back.page_size, sent.page_size);
  EXPECT_EQ(back.resident, sent.resident);
  EXPECT_EQ(back.limit, sent.limit);
  ASSERT_EQ(back.faults.size(), kFaultSources.size());
  for (std::size_t i = 0; i < kFaultSources.size(); ++i) {
    EXPECT_EQ(back.faults[i].source, kFaultSources[i]);
    const LatencyStats& latency = back.faults[i].latency;
    EXPECT_EQ(latency.count, 1000U);
    EXPECT_EQ(latency.sum_ns, 500'500'000U);
    EXPECT_NEAR(static_cast<double>(latency.p50_ns), 500'000, 500'000 * 0.07);
    EXPECT_NEAR(static_cast<double>(latency.p99_ns), 990'000, 990'000 * 0.07);
    EXPECT_GE(latency.p999_ns, latency.p99_ns);
    ASSERT_EQ(latency.buckets.size(), kLatencyBoundsNs.size());
    EXPECT_EQ(latency.buckets.back().bound_ns, kLatencyBoundsNs.back());
    EXPECT_EQ(latency.buckets.back().count, 1000U);
    for (std::size_t b = 1; b < latency.buckets.size(); ++b) {
      EXPECT_GE(latency.buckets[b].count, latency.buckets[b - 1].count);
    }
  }
  EXPECT_EQ(back.prefetch_issued, 21U);
  EXPECT_EQ(back.prefetch_hits, 22U);
  EXPECT_EQ(back.evictions, 24U);
  EXPECT_EQ(back.clean_drops, 25U);
  EXPECT_EQ(back.zero_drops, 26U);
  EXPECT_EQ(back.cancels, 27U);
  EXPECT_EQ(back.refaults, 28U);
  EXPECT_EQ(back.waits_for_io, 29U);
  EXPECT_EQ(back.local_enomem, 30U);
  EXPECT_EQ(back.alarms, 31U);
  EXPECT_EQ(back.pages_lost, 32U);
  EXPECT_EQ(back.vm_stops, 33U);
  EXPECT_EQ(back.capture_stop, sent.capture_stop);
  EXPECT_EQ(back.io_rule, sent.io_rule);
  ASSERT_EQ(back.connections.size(), 1U);
  ExpectSame(back.connections[0], kConnection);
}

TEST(NodeValues, NodePeersChecksAndLeases) {
  NodeInfo node;
  node.name = "n1";
  node.version = "0.1.0";
  node.boot_id = "b";
  node.pid = 3;
  node.uptime = Millis(4);
  node.local_endpoint = "/run/heca/hecad.sock";
  node.peer_endpoint = "0.0.0.0:7301";
  node.data_endpoints = {"tcp 0.0.0.0:7300"};
  node.kernel = {{"uffd-minor-shmem", "yes"}};
  node.donated = Bytes(5);
  node.lent = Bytes(6);
  node.quarantined = Bytes(7);
  node.free = Bytes(8);
  node.regions = 9;
  node.counters = {{"reconnects_total", 10}};
  const NodeInfo node_back = ThereAndBack<v1::NodeInfo>(node);
  EXPECT_EQ(node_back.name, node.name);
  EXPECT_EQ(node_back.version, node.version);
  EXPECT_EQ(node_back.boot_id, node.boot_id);
  EXPECT_EQ(node_back.pid, node.pid);
  EXPECT_EQ(node_back.uptime, node.uptime);
  EXPECT_EQ(node_back.local_endpoint, node.local_endpoint);
  EXPECT_EQ(node_back.peer_endpoint, node.peer_endpoint);
  EXPECT_EQ(node_back.data_endpoints, node.data_endpoints);
  ASSERT_EQ(node_back.kernel.size(), 1U);
  EXPECT_EQ(node_back.kernel[0].name, "uffd-minor-shmem");
  EXPECT_EQ(node_back.kernel[0].value, "yes");
  EXPECT_EQ(node_back.donated, node.donated);
  EXPECT_EQ(node_back.lent, node.lent);
  EXPECT_EQ(node_back.quarantined, node.quarantined);
  EXPECT_EQ(node_back.free, node.free);
  EXPECT_EQ(node_back.regions, node.regions);
  ASSERT_EQ(node_back.counters.size(), 1U);
  EXPECT_EQ(node_back.counters[0].name, "reconnects_total");
  EXPECT_EQ(node_back.counters[0].value, 10U);

  const PeerInfo peer{"m1", "h:1", "rack-1", PeerHealth::kRestarted, "b2", Bytes(1), Bytes(2), Nanos(3), {"tcp"},
                      {kConnection}, "why"};
  const PeerInfo peer_back = ThereAndBack<v1::PeerInfo>(peer);
  EXPECT_EQ(peer_back.name, peer.name);
  EXPECT_EQ(peer_back.endpoint, peer.endpoint);
  EXPECT_EQ(peer_back.failure_domain, peer.failure_domain);
  EXPECT_EQ(peer_back.health, peer.health);
  EXPECT_EQ(peer_back.boot_id, peer.boot_id);
  EXPECT_EQ(peer_back.donated, peer.donated);
  EXPECT_EQ(peer_back.free, peer.free);
  EXPECT_EQ(peer_back.rtt, peer.rtt);
  EXPECT_EQ(peer_back.transports, peer.transports);
  ASSERT_EQ(peer_back.connections.size(), 1U);
  ExpectSame(peer_back.connections[0], kConnection);
  EXPECT_EQ(peer_back.trouble, peer.trouble);

  const DoctorCheck check = ThereAndBack<v1::DoctorCheck>(DoctorCheck{"tmpfs", Verdict::kWarn, "small", "grow it"});
  EXPECT_EQ(check.name, "tmpfs");
  EXPECT_EQ(check.verdict, Verdict::kWarn);
  EXPECT_EQ(check.what, "small");
  EXPECT_EQ(check.remedy, "grow it");

  const LeaseInfo lease{LeaseId(1), Epoch(2), LeaseState::kQuarantined, "n", "b", "vm", kBasePage, Bytes(3), Bytes(4),
                        Millis(5)};
  const LeaseInfo lease_back = ThereAndBack<v1::LeaseInfo>(lease);
  EXPECT_EQ(lease_back.id, lease.id);
  EXPECT_EQ(lease_back.epoch, lease.epoch);
  EXPECT_EQ(lease_back.state, lease.state);
  EXPECT_EQ(lease_back.owner_node, lease.owner_node);
  EXPECT_EQ(lease_back.owner_boot_id, lease.owner_boot_id);
  EXPECT_EQ(lease_back.region, lease.region);
  EXPECT_EQ(lease_back.page_size, lease.page_size);
  EXPECT_EQ(lease_back.reserved, lease.reserved);
  EXPECT_EQ(lease_back.written, lease.written);
  EXPECT_EQ(lease_back.time_to_live, lease.time_to_live);
}

TEST(NodeValues, Migrations) {
  MigrationInfo sent = testing::SampleDeparture();
  sent.over = true;
  sent.trouble = "the VM died";
  sent.progress.text = "x";
  const MigrationInfo back = ThereAndBack<v1::MigrationInfo>(sent);
  EXPECT_EQ(back.image, sent.image);
  EXPECT_EQ(back.domain, sent.domain);
  EXPECT_EQ(back.destination, sent.destination);
  EXPECT_EQ(back.progress.phase, sent.progress.phase);
  EXPECT_EQ(back.progress.done, sent.progress.done);
  EXPECT_EQ(back.progress.total, sent.progress.total);
  EXPECT_EQ(back.progress.text, sent.progress.text);
  EXPECT_EQ(back.started, sent.started);
  EXPECT_TRUE(back.over);
  EXPECT_FALSE(back.ok);
  EXPECT_EQ(back.trouble, sent.trouble);
  EXPECT_EQ(back.reached.region, sent.reached.region);
  EXPECT_EQ(back.reached.mode, sent.reached.mode);
  EXPECT_EQ(back.reached.total, sent.reached.total);
  EXPECT_EQ(back.reached.downtime, sent.reached.downtime);
  EXPECT_EQ(back.reached.faults, sent.reached.faults);
  sent.ok = true;
  EXPECT_TRUE(ThereAndBack<v1::MigrationInfo>(sent).ok);
}

TEST(NodeValues, AnEnumeratorOfALaterReleaseBecomesInvalid) {
  v1::Event message;
  message.set_kind(static_cast<v1::EventKind>(200));
  message.set_severity(static_cast<v1::Severity>(-1));
  const Event event = FromMessage(message);
  EXPECT_EQ(event.kind, EventKind::kInvalid);
  EXPECT_EQ(event.severity, Severity::kInvalid);
}

}  // namespace
}  // namespace heca::control
