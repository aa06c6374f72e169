// SPDX-License-Identifier: LGPL-2.1-or-later
// The keys are a contract (docs/cli.md): each document is compared as a whole.
#include "cli/json.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "support/node_samples.h"

namespace heca::cli {
namespace {

using namespace heca::testing;

TEST(Json, Node) {
  EXPECT_EQ(ToJson(SampleNode()), Json::parse(R"({
    "name": "c1", "version": "0.1.0", "boot_id": "b00t", "pid": 99, "uptime_ms": 7500000,
    "socket": "/run/heca/hecad.sock", "control_endpoint": "127.0.0.1:7300",
    "data_endpoints": ["tcp 127.0.0.1:7301"], "kernel": {"uffd-minor-shmem": "yes"},
    "donated_bytes": 8589934592, "lent_bytes": 1073741824, "quarantined_bytes": 0, "free_bytes": 7516192768,
    "regions": 1, "counters": {"sponsor_reconnects_total": 3}})"));
}

TEST(Json, Peer) {
  EXPECT_EQ(ToJson(SamplePeer()), Json::parse(R"({
    "name": "m1", "endpoint": "10.1.0.3:7300", "failure_domain": "rack2", "health": "unreachable", "boot_id": "",
    "donated_bytes": 8589934592, "free_bytes": 536870912, "rtt_ns": 180000, "transports": ["tcp"],
    "connections": [{"text": "tcp 10.1.0.2:40112 -> 10.1.0.3:7301", "role": "urgent", "region": "vm1", "lease": 7,
                     "outgoing": true, "in_bytes": 4096, "out_bytes": 32}],
    "trouble": "connection refused"})"));
}

TEST(Json, Region) {
  EXPECT_EQ(ToJson(SampleRegion()), Json::parse(R"({
    "name": "vm1", "state": "active", "pid": 4711, "domain": "vm1", "size_bytes": 1073741824, "page_size_bytes": 4096,
    "limit_bytes": 268435456, "resident_bytes": 262144000, "away_bytes": 734003200, "lost_bytes": 8192,
    "on_loss": "wait", "replicas": 1,
    "blocks": [{"name": "pc.ram", "path": "/dev/shm/ram/vm1/pc.ram", "size_bytes": 1073741824}],
    "stores": [{"sponsor": "m1", "endpoint": "10.1.0.3:7301", "transport": "tcp", "lease": 7, "epoch": 2,
                "state": "disconnected", "reserved_bytes": 1073741824, "used_bytes": 734003200}],
    "io_rule": "none needed: no direct disk I/O", "capture_stop_ns": 310000,
    "attached_at": "2026-01-31T12:00:00.250Z", "trouble": "sponsor m1 is away"})"));
}

TEST(Json, Migration) {
  EXPECT_EQ(ToJson(SampleMigration()), Json::parse(R"({
    "region": "vm1", "mode": "hybrid", "total_ms": 12300, "downtime_ns": 48000000, "rounds": 3,
    "ahead_bytes": 251658240, "memory_bytes": 1073741824,
    "moved_bytes": 268435456, "zero_bytes": 805306368, "faults": 1234, "fault_p50_ns": 120000,
    "fault_p99_ns": 900000, "blocked_ns": 15000000,
    "vcpu_blocked_ms": [8.0, 4.5], "all_vcpus_blocked_ms": 3.0, "others_blocked_ms": 2.5})"));
  control::MigrationSummary not_known = SampleMigration();
  not_known.blocktime.reset();
  for (const char* name : {"vcpu_blocked_ms", "all_vcpus_blocked_ms", "others_blocked_ms"}) {
    EXPECT_TRUE(ToJson(not_known)[name].is_null()) << name;
  }
}

TEST(Json, Departure) {
  const control::MigrationInfo under_way = SampleDeparture();
  EXPECT_EQ(ToJson(under_way), Json::parse(R"({
    "region": "vm1", "domain": "vm1", "destination": "c2", "mode": "post-copy", "phase": "post-copy",
    "done_bytes": 536870912, "total_bytes": 1073741824, "started_at": "2026-01-31T12:00:00.250Z", "elapsed_ms": 12300,
    "faults": 1234, "fault_p50_ns": 120000, "fault_p99_ns": 900000, "downtime_ns": 48000000, "over": false, "ok": false,
    "trouble": "", "summary": null,
    "vcpu_blocked_ms": [8.0, 4.5], "all_vcpus_blocked_ms": 3.0, "others_blocked_ms": 2.5})"));
  control::MigrationInfo over = under_way;
  over.over = over.ok = true;
  EXPECT_EQ(ToJson(over)["summary"], ToJson(under_way.reached));
}

TEST(Json, LeaseCheckAndEvent) {
  EXPECT_EQ(ToJson(SampleLease()), Json::parse(R"({
    "id": 7, "epoch": 2, "state": "active", "owner_node": "c1", "owner_boot_id": "b00t", "region": "vm1",
    "page_size_bytes": 4096, "reserved_bytes": 1073741824, "written_bytes": 734003200, "time_to_live_ms": 58000})"));
  EXPECT_EQ(ToJson(control::DoctorCheck{"kernel", control::Verdict::kFail, "5.10", "boot 6.1"}),
            Json::parse(R"({
    "name": "kernel", "verdict": "fail", "what": "5.10", "remedy": "boot 6.1"})"));
  EXPECT_EQ(ToJson(SampleEvent()), Json::parse(R"({
    "sequence": 12, "time": "2026-01-31T12:00:00.250Z", "severity": "warning", "kind": "vm-stopped", "region": "vm1",
    "text": "sponsor m1 is away for 10s", "values": {"pages": "3"}})"));
}

TEST(Json, Rates) {
  const Json json =
      ToJson(RatesBetween({SampleStats(1000)}, {SampleStats(3000)}, std::chrono::seconds(2))[0]);
  EXPECT_EQ(json["faults_per_s"], 1000.0);
  EXPECT_EQ(json["sources"][0], Json::parse(R"({
    "source": "sponsor", "faults_per_s": 1000.0, "p50_us": 37.5, "p99_us": 49.75})"));
  EXPECT_TRUE(json["sources"][1]["p50_us"].is_null());
}

TEST(Json, Error) {
  EXPECT_EQ(ErrorJson(Status::FromErrno(EPERM, "ptrace", ErrorScope::kRegion), 4), Json::parse(R"J({"error": {
    "code": "PERMISSION_DENIED", "scope": "region", "errno": 1, "message": "ptrace: Operation not permitted (EPERM)",
    "exit_code": 4}})J"));
}

}  // namespace
}  // namespace heca::cli
