// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/text.h"

#include <gtest/gtest.h>

#include "cli/table.h"
#include "support/node_samples.h"

namespace heca::cli {
namespace {

using namespace heca::testing;

TEST(Table, AlignsColumns) {
  Table table({{"NAME"}, {"SIZE", Table::Align::kRight}, {"NOTE"}});
  table.Add({"a", "1GiB", ""});
  table.Add({"längere", "12MiB", "x"});
  EXPECT_EQ(table.Render(),
            "NAME      SIZE  NOTE\n"
            "a         1GiB  -\n"
            "längere  12MiB  x\n");
}

TEST(Text, Spans) {
  EXPECT_EQ(FormatSpan(Nanos(900)), "0.9us");
  EXPECT_EQ(FormatSpan(Nanos(12'000)), "12us");
  EXPECT_EQ(FormatSpan(Nanos(310'000'000)), "310ms");
  EXPECT_EQ(FormatSpan(Millis(4200)), "4.2s");
  EXPECT_EQ(FormatSpan(std::chrono::seconds(432)), "7m12s");
  EXPECT_EQ(FormatSpan(std::chrono::seconds(7500)), "2h5m");
  EXPECT_EQ(FormatSpan(std::chrono::hours(76)), "3d4h");
}

TEST(Text, TimeIsUtc) { EXPECT_EQ(FormatTime(SampleEvent().time), "2026-01-31T12:00:00.250Z"); }

TEST(Text, Status) {
  EXPECT_EQ(StatusText(SampleNode(), {SampleRegion()}),
            "hecad 0.1.0 'c1' (pid 99), up 2h5m\n"
            "  socket      /run/heca/hecad.sock\n"
            "  control     127.0.0.1:7300\n"
            "  data        tcp 127.0.0.1:7301\n"
            "  lends       8GiB: 1GiB lent, 0B quarantined, 7GiB free\n"
            "\n"
            "REGION  STATE    PID  SIZE   LIMIT  RESIDENT    AWAY  SPONSORS           TROUBLE\n"
            "vm1     active  4711  1GiB  256MiB    250MiB  700MiB  m1 (disconnected)  sponsor m1 is away\n");
}

TEST(Text, RegionsWithoutAnySayWhatToDo) {
  EXPECT_EQ(RegionsText({}), "no regions: hecactl attach --domain NAME takes a VM under governance\n");
}

TEST(Text, OneRegion) {
  EXPECT_EQ(RegionText(SampleRegion()),
            "region vm1: active\n"
            "  trouble     sponsor m1 is away\n"
            "  process     pid 4711, domain vm1\n"
            "  size        1GiB in pages of 4KiB\n"
            "  limit       256MiB\n"
            "  resident    250MiB (24%)\n"
            "  away        700MiB (68%)\n"
            "  lost        8KiB, at no sponsor any more; see hecactl resolve --help\n"
            "  block       pc.ram 1GiB /dev/shm/ram/vm1/pc.ram\n"
            "  sponsor     m1 tcp 10.1.0.3:7301 lease 7: disconnected, 700MiB of 1GiB used\n"
            "  on loss     wait\n"
            "  disk I/O    none needed: no direct disk I/O\n"
            "  attached    2026-01-31T12:00:00.250Z, the guest stood still for 310us\n");
}

TEST(Text, Migration) {
  EXPECT_EQ(MigrationText(SampleMigration(), "m2"),
            "region vm1: moved to m2, hybrid\n"
            "  total       12.3s\n"
            "  downtime    48ms\n"
            "  ahead       240MiB in 3 rounds\n"
            "  memory      1GiB\n"
            "  moved       256MiB (25%)\n"
            "  zero        768MiB (75%)\n"
            "  faults      1234, each waited 120us (p50), 900us (p99), all threads together 15ms\n"
            "  blocked     vCPUs 8ms, 4.5ms; all of them at once 3ms; other threads 2.5ms\n");
  control::MigrationSummary many = SampleMigration();
  many.blocktime->vcpus.assign(64, Nanos(1'000'000));
  many.blocktime->vcpus[7] = Nanos(9'000'000);
  EXPECT_TRUE(MigrationText(many, "m2").ends_with(
      "  blocked     64 vCPUs, the longest 9ms; all of them at once 3ms; other threads 2.5ms\n"));
  many.blocktime.reset();
  EXPECT_TRUE(MigrationText(many, "m2").ends_with("  blocked     not known for each vCPU\n"));
  control::MigrationSummary ahead = SampleMigration();
  ahead.mode = control::MigrationMode::kPreCopy;
  ahead.faults = 0;
  const std::string text = MigrationText(ahead, "m2");
  EXPECT_TRUE(text.starts_with("region vm1: moved to m2, pre-copy\n")) << text;
  EXPECT_TRUE(text.ends_with("  faults      none\n")) << text;
}

TEST(Text, Nodes) {
  EXPECT_EQ(
      NodesText({SamplePeer()}),
      "NODE  HEALTH       ENDPOINT       DOMAIN  DONATED    FREE    RTT  TRANSPORT  TROUBLE\n"
      "m1    unreachable  10.1.0.3:7300  rack2      8GiB  512MiB  180us  tcp        connection refused\n"
      "\n"
      "NODE  REGION  ROLE      IN  OUT  CONNECTION\n"
      "m1    vm1     urgent  4KiB  32B  tcp 10.1.0.2:40112 -> 10.1.0.3:7301\n");
  control::PeerInfo idle = SamplePeer();
  idle.connections.clear();
  EXPECT_EQ(NodesText({idle}).find("CONNECTION"), std::string::npos);
}

TEST(Text, Leases) {
  EXPECT_EQ(LeasesText({SampleLease()}),
            "LEASE  STATE   OWNER  REGION  PAGE  RESERVED  WRITTEN  EXPIRES\n"
            "    7  active  c1     vm1     4KiB      1GiB   700MiB    58.0s\n");
}

TEST(Text, Doctor) {
  EXPECT_EQ(DoctorText({{"kernel", control::Verdict::kOk, "6.1.0", ""},
                        {"memory_backing_dir", control::Verdict::kFail, "/var on ext4", "set it"}}),
            "ok    kernel              6.1.0\n"
            "fail  memory_backing_dir  /var on ext4\n"
            "                          remedy: set it\n");
}

TEST(Text, Migrations) {
  control::MigrationInfo begun;
  begun.destination = "c3";
  begun.progress.phase = "prepare";
  begun.reached.region = "vm2";
  begun.reached.mode = control::MigrationMode::kPostCopy;
  begun.reached.total = Millis(310);
  begun.trouble = "no room";
  EXPECT_EQ(MigrationsText({SampleDeparture(), begun}),
            "REGION  TO  MODE       PHASE      DONE   TIME  DOWNTIME  FAULTS      P50/P99  TROUBLE\n"
            "vm1     c2  post-copy  post-copy   50%  12.3s      48ms    1234  120us/900us  -\n"
            "vm2     c3  post-copy  prepare       -  310ms         -       0            -  no room\n");
  EXPECT_EQ(MigrationsText({}), "no migrations: no VM leaves this node, or left it in the last ten minutes\n");
}

TEST(Text, Event) {
  EXPECT_EQ(EventText(SampleEvent()),
            "2026-01-31T12:00:00.250Z warning vm1 vm-stopped: sponsor m1 is away for 10s pages=3\n");
}

TEST(Text, Top) {
  const auto rates = RatesBetween({SampleStats(1000)}, {SampleStats(3000)}, std::chrono::seconds(2));
  EXPECT_EQ(TopText(rates),
            "REGION  RESIDENT   LIMIT    AWAY  FAULTS/s  SPONSOR  BUFFER  ZERO  EVICT/s  PREFETCH        IN  "
            "      OUT\n"
            "vm1       250MiB  256MiB  3.9MiB      1000    38/50       -     -     2000       50%  3.9MiB/s  "
            "31.2KiB/s\n"
            "SPONSOR, BUFFER, ZERO: fault latency in us, p50/p99\n");
  EXPECT_EQ(TopText({}), "no regions\n");
}

}  // namespace
}  // namespace heca::cli
