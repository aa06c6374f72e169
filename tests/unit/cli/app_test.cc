// SPDX-License-Identifier: LGPL-2.1-or-later
// hecactl from its command line to its exit code, against a fake hecad in this process.
// tests/python/test_hecactl.py runs the program itself over a socket.
#include "cli/app.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "cli/exit_code.h"
#include "support/fake_node.h"
#include "support/node_samples.h"

namespace heca::cli {
namespace {

using namespace heca::testing;

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::StartsWith;

/// What hecactl holds in place of a NodeClient: passes every call on to a fake that the test keeps.
class Forward final : public control::NodeApi {
 public:
  explicit Forward(control::NodeApi& to) : to_(to) {}
  Result<control::RegionInfo> Attach(const control::AttachSpec& s, control::ProgressSink& p) override {
    return to_.Attach(s, p);
  }
  Result<control::RegionInfo> Limit(const RegionId& r, Bytes b, control::ProgressSink& p) override {
    return to_.Limit(r, b, p);
  }
  Status Detach(const RegionId& r, control::ProgressSink& p) override { return to_.Detach(r, p); }
  Status OnDomain(const control::DomainEvent& event) override { return to_.OnDomain(event); }
  Result<control::MigrationSummary> Migrate(const control::MigrateSpec& s, control::ProgressSink& p) override {
    return to_.Migrate(s, p);
  }
  Status Steer(const control::SteerSpec& spec) override { return to_.Steer(spec); }
  Result<std::vector<control::MigrationInfo>> Migrations() override { return to_.Migrations(); }
  Result<control::RegionInfo> Resolve(const RegionId& r, control::LostPages how) override { return to_.Resolve(r, how); }
  Result<std::vector<control::RegionInfo>> Regions() override { return to_.Regions(); }
  Result<control::RegionInfo> Region(const RegionId& r) override { return to_.Region(r); }
  Result<std::vector<control::RegionStats>> Stats(const RegionId& r) override { return to_.Stats(r); }
  Result<control::NodeInfo> About() override { return to_.About(); }
  Result<std::vector<control::PeerInfo>> Nodes() override { return to_.Nodes(); }
  Result<std::vector<control::DoctorCheck>> Doctor() override { return to_.Doctor(); }
  Status Events(const control::EventQuery& q, control::EventSink& s) override { return to_.Events(q, s); }
  Result<std::vector<control::LeaseInfo>> Leases() override { return to_.Leases(); }
  Status FreeLease(LeaseId l, bool f) override { return to_.FreeLease(l, f); }

 private:
  control::NodeApi& to_;
};

class App : public ::testing::Test {
 protected:
  struct Ran {
    int code;
    std::string out;
    std::string err;
  };

  Ran Hecactl(std::vector<std::string> args) {
    char* out = nullptr;
    char* err = nullptr;
    std::size_t out_size = 0;
    std::size_t err_size = 0;
    Output output{::open_memstream(&out, &out_size), ::open_memstream(&err, &err_size), false, false};
    const int code = cli::Run(
        args, output,
        [this](const control::NodeClientOptions& options) -> Result<std::unique_ptr<control::NodeApi>> {
          options_ = options;
          return std::unique_ptr<control::NodeApi>(std::make_unique<Forward>(fake_));
        });
    std::fclose(output.out);
    std::fclose(output.err);
    Ran ran{code, {out, out_size}, {err, err_size}};
    std::free(out);
    std::free(err);
    return ran;
  }

  void Attached() { ASSERT_EQ(Hecactl({"attach", "--pid", "7", "--name", "vm1"}).code, 0); }

  heca::testing::FakeNode fake_;
  control::NodeClientOptions options_;
};

TEST_F(App, AttachPassesEverythingOn) {
  const Ran ran = Hecactl({"attach", "--domain", "vm1", "--name", "r1", "--ratio", "1:3", "--sponsor", "m1",
                           "--sponsor", "10.1.0.4:7300", "--qmp", "/run/q", "--map", "/dev/shm/x",
                           "--on-loss", "poison", "--transport", "rdma", "--option", "a=b=c"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(ran.out, StartsWith("region r1: active\n"));
  const auto spec = fake_.last_spec().value();
  EXPECT_EQ(spec.domain, "vm1");
  EXPECT_EQ(spec.pid, 0);
  EXPECT_EQ(spec.region, "r1");
  EXPECT_EQ(spec.ratio.value().local, 1U);
  EXPECT_EQ(spec.ratio.value().remote, 3U);
  EXPECT_FALSE(spec.local_limit);
  EXPECT_THAT(spec.sponsors, ::testing::ElementsAre("m1", "10.1.0.4:7300"));
  EXPECT_EQ(spec.qmp_socket, "/run/q");
  EXPECT_EQ(spec.mapping.path, "/dev/shm/x");
  EXPECT_EQ(spec.page_loss, control::PageLoss::kPoison);
  EXPECT_EQ(spec.transport, TransportChoice::kRdma);
  EXPECT_THAT(spec.options, ::testing::ElementsAre(::testing::Pair("a", "b=c")));
}

TEST_F(App, AttachByPidWithALocalSize) {
  EXPECT_EQ(Hecactl({"attach", "--pid", "4711", "--local", "256MiB"}).code, 0);
  EXPECT_EQ(fake_.last_spec()->pid, 4711);
  EXPECT_EQ(fake_.last_spec()->local_limit.value().value(), 256 * kMiB);
  EXPECT_EQ(fake_.last_spec()->page_loss, control::PageLoss::kWait);
  EXPECT_EQ(fake_.last_spec()->transport, TransportChoice::kAuto);
}

TEST_F(App, LimitAndDetach) {
  Attached();
  const Ran limit = Hecactl({"limit", "vm1", "512M", "--json"});
  EXPECT_EQ(limit.code, 0) << limit.err;
  EXPECT_EQ(json::parse(limit.out)["region"]["limit_bytes"], 512 * kMiB);
  const Ran detach = Hecactl({"detach", "vm1"});
  EXPECT_EQ(detach.code, 0) << detach.err;
  EXPECT_EQ(detach.out, "region vm1: all memory is home, hecad has let go\n");
  EXPECT_EQ(Hecactl({"detach", "vm1"}).code, 4);
}

TEST_F(App, MigratePassesEverythingOn) {
  fake_.migrated = SampleMigration();
  fake_.Play(heca::testing::FakeNode::Steps(100));
  const Ran ran = Hecactl({"migrate", "--pid", "7", "--qmp", "/run/q", "m2", "--mode", "hybrid", "--dest-pid", "8",
                           "--dest-qmp", "/run/q2", "--uri", "tcp:10.1.0.4:4444", "--downtime-ms", "50",
                           "--bandwidth", "64MiB"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(ran.out, StartsWith("region pid-7: moved to m2, hybrid\n  total       12.3s\n"));
  EXPECT_THAT(ran.err, HasSubstr("migrate: write-back: 100B of 100B (100%)"));
  const auto spec = fake_.last_migration().value();
  EXPECT_EQ(spec.pid, 7);
  EXPECT_EQ(spec.domain, "");
  EXPECT_EQ(spec.qmp_socket, "/run/q");
  EXPECT_EQ(spec.destination, "m2");
  EXPECT_EQ(spec.destination_pid, 8);
  EXPECT_EQ(spec.destination_qmp, "/run/q2");
  EXPECT_EQ(spec.uri, "tcp:10.1.0.4:4444");
  EXPECT_EQ(spec.mode, control::MigrationMode::kHybrid);
  EXPECT_EQ(spec.downtime_goal, Millis(50));
  EXPECT_EQ(spec.bandwidth, 64 * kMiB);
}

TEST_F(App, MigrateAsJson) {
  fake_.migrated = SampleMigration();
  const std::vector<std::string> words{"--json", "migrate", "--pid", "7", "--qmp", "/run/q", "10.1.0.4:7301"};
  const Ran ran = Hecactl(words);
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.err, "");
  const json document = json::parse(ran.out);
  EXPECT_EQ(document["destination"], "10.1.0.4:7301");
  EXPECT_EQ(document["migration"]["region"], "pid-7");
  EXPECT_EQ(document["migration"]["mode"], "post-copy");
  EXPECT_EQ(document["migration"]["downtime_ns"], 48'000'000);
  const auto spec = fake_.last_migration().value();
  EXPECT_EQ(spec.mode, control::MigrationMode::kPostCopy);
  EXPECT_EQ(spec.downtime_goal, Millis(300));
  EXPECT_EQ(spec.bandwidth, 0U);
  std::vector<std::string> pre_copy = words;
  pre_copy.insert(pre_copy.end(), {"--mode", "pre-copy"});
  EXPECT_EQ(Hecactl(pre_copy).code, 0);
  EXPECT_EQ(fake_.last_migration()->mode, control::MigrationMode::kPreCopy);
}

TEST_F(App, Migrations) {
  EXPECT_THAT(Hecactl({"migrations"}).out, StartsWith("no migrations"));
  fake_.migrations = [] { return std::vector{SampleDeparture()}; };
  EXPECT_THAT(Hecactl({"migrations"}).out, HasSubstr("\nvm1     c2  post-copy"));
  EXPECT_EQ(json::parse(Hecactl({"migrations", "--json"}).out)["migrations"][0]["phase"], "post-copy");
}

TEST_F(App, Steer) {
  EXPECT_EQ(Hecactl({"steer", "vm1"}).code, 2) << "nothing is to change";
  EXPECT_FALSE(fake_.last_steer());
  EXPECT_THAT(Hecactl({"steer", "vm1", "--switch-now"}).out, StartsWith("region vm1: done"));
  EXPECT_TRUE(fake_.last_steer()->switch_now);
  EXPECT_EQ(fake_.last_steer()->bandwidth, std::nullopt);
  EXPECT_EQ(Hecactl({"steer", "vm1", "--bandwidth", "10MiB", "--json"}).code, 0);
  EXPECT_EQ(fake_.last_steer()->bandwidth, 10U << 20);
  EXPECT_EQ(Hecactl({"steer", "vm1", "--bandwidth", "0"}).code, 0);
  EXPECT_EQ(fake_.last_steer()->bandwidth, 0U);
  EXPECT_EQ(Hecactl({"steer", "vm1", "--bandwidth", "much"}).code, 2);
}

TEST_F(App, ResolveGivesNothingUpWithoutYes) {
  Attached();
  for (const char* how : {"zero", "poison"}) {
    const Ran asked = Hecactl({"resolve", "vm1", "--lost", how});
    EXPECT_EQ(asked.code, 2);
    EXPECT_THAT(asked.err, HasSubstr("add --yes"));
    EXPECT_EQ(fake_.last_resolve(), control::LostPages::kInvalid) << "hecad must not have been asked";
  }
  EXPECT_EQ(Hecactl({"resolve", "vm1", "--lost", "ask-again"}).code, 0);
  EXPECT_EQ(fake_.last_resolve(), control::LostPages::kAskAgain);
  EXPECT_EQ(Hecactl({"resolve", "vm1", "--lost", "poison", "--yes"}).code, 0);
  EXPECT_EQ(fake_.last_resolve(), control::LostPages::kPoison);
  const Ran zero = Hecactl({"resolve", "vm1", "--lost", "zero", "--yes", "--json"});
  EXPECT_EQ(zero.code, 0) << zero.err;
  EXPECT_EQ(json::parse(zero.out)["lost"], "zero");
  EXPECT_EQ(json::parse(zero.out)["region"]["name"], "vm1");
  EXPECT_EQ(fake_.last_resolve(), control::LostPages::kZero);
  EXPECT_EQ(Hecactl({"resolve", "other", "--lost", "ask-again"}).code, 4);
}

TEST_F(App, ProgressGoesToStandardErrorAndNotWithJson) {
  fake_.Play(heca::testing::FakeNode::Steps(100));
  Attached();
  const Ran plain = Hecactl({"limit", "vm1", "1G"});
  EXPECT_THAT(plain.err, HasSubstr("limit: write-back: 100B of 100B (100%)"));
  EXPECT_EQ(plain.err.find('\r'), std::string::npos);
  EXPECT_EQ(Hecactl({"limit", "vm1", "1G", "--json"}).err, "");
}

TEST_F(App, Questions) {
  fake_.about = SampleNode();
  fake_.nodes = {SamplePeer()};
  fake_.leases = {SampleLease()};
  fake_.checks = {{"kernel", control::Verdict::kFail, "5.10", "boot 6.1"}};
  Attached();
  EXPECT_THAT(Hecactl({"status"}).out, StartsWith("hecad 0.1.0 'c1'"));
  EXPECT_THAT(Hecactl({"nodes"}).out, HasSubstr("unreachable"));
  EXPECT_THAT(Hecactl({"regions"}).out, HasSubstr("vm1"));
  EXPECT_THAT(Hecactl({"regions", "vm1"}).out, StartsWith("region vm1: active"));
  EXPECT_THAT(Hecactl({"leases"}).out, HasSubstr("LEASE"));
  EXPECT_THAT(Hecactl({"version"}).out, HasSubstr("hecad   0.1.0\n"));
  const Ran doctor = Hecactl({"doctor"});
  EXPECT_EQ(doctor.code, 1);
  EXPECT_THAT(doctor.out, HasSubstr("boot 6.1"));
}

TEST_F(App, JsonIsOneDocument) {
  fake_.about = SampleNode();
  fake_.nodes = {SamplePeer()};
  fake_.leases = {SampleLease()};
  Attached();
  const auto document = [this](std::vector<std::string> args) {
    args.insert(args.begin(), "--json");
    return json::parse(Hecactl(args).out);
  };
  EXPECT_EQ(document({"status"})["node"]["name"], "c1");
  EXPECT_EQ(document({"status"})["regions"][0]["name"], "vm1");
  EXPECT_EQ(document({"nodes"})["nodes"][0]["health"], "unreachable");
  EXPECT_EQ(document({"regions"})["regions"].size(), 1U);
  EXPECT_EQ(document({"regions", "vm1"})["regions"][0]["pid"], 7);
  EXPECT_EQ(document({"leases"})["leases"][0]["id"], 7);
  EXPECT_EQ(document({"doctor"})["hecad_running"], true);
  EXPECT_EQ(document({"version"})["hecad"], "0.1.0");
  EXPECT_EQ(document({"detach", "vm1"}), json::parse(R"({"region": "vm1", "detached": true})"));
  EXPECT_EQ(document({"detach", "vm1"})["error"]["code"], "NOT_FOUND");
}

TEST_F(App, FreeLease) {
  fake_.leases = {SampleLease()};
  const Ran active = Hecactl({"leases", "free", "7"});
  EXPECT_EQ(active.code, 4);
  EXPECT_EQ(active.err, "hecactl: leases: the lease is active\n");
  EXPECT_EQ(Hecactl({"leases", "free", "7", "--force"}).code, 0);
  EXPECT_EQ(Hecactl({"leases", "free", "8"}).code, 4);
}

TEST_F(App, EventsAsLines) {
  fake_.Tell(SampleEvent());
  fake_.Tell(SampleEvent());
  const Ran plain = Hecactl({"events"});
  EXPECT_EQ(plain.code, 0);
  EXPECT_THAT(plain.out, HasSubstr("vm1 vm-stopped: sponsor m1 is away for 10s pages=3\n"));
  const Ran lines = Hecactl({"events", "--json", "--since", "1"});
  EXPECT_EQ(json::parse(lines.out)["sequence"], 2);
  EXPECT_EQ(Hecactl({"events", "--follow", "--timeout", "0.2"}).code, 5);
}

TEST_F(App, TopOnceInAPipe) {
  fake_.stats = {SampleStats(1000)};
  const Ran once = Hecactl({"top", "--interval", "0.1"});
  EXPECT_EQ(once.code, 0) << once.err;
  EXPECT_EQ(std::count(once.out.begin(), once.out.end(), '\n'), 3);
  const Ran lines = Hecactl({"top", "--interval", "0.1", "--count", "2", "--json"});
  EXPECT_EQ(std::count(lines.out.begin(), lines.out.end(), '\n'), 2);
  EXPECT_EQ(json::parse(lines.out.substr(0, lines.out.find('\n')))["regions"][0]["name"], "vm1");
}

TEST_F(App, TimeoutOfALongOperation) {
  Attached();
  fake_.Play(heca::testing::FakeNode::UntilCancelled);
  const Ran limit = Hecactl({"limit", "vm1", "1G", "--timeout", "0.2"});
  EXPECT_EQ(limit.code, 5);
  EXPECT_THAT(limit.err, HasSubstr("hecactl: limit: not done within 200ms; run it again to carry on\n"));
  const Ran attach = Hecactl({"attach", "--pid", "8", "--timeout", "0.2", "--json"});
  EXPECT_EQ(attach.code, 5);
  EXPECT_EQ(json::parse(attach.out)["error"]["message"], "not done within 200ms; it was undone");
}

TEST_F(App, TimeoutOfAMigration) {
  fake_.Play(heca::testing::FakeNode::UntilCancelled);
  const Ran ran = Hecactl({"migrate", "--pid", "7", "--qmp", "/run/q", "m2", "--timeout", "0.2"});
  EXPECT_EQ(ran.code, 5);
  EXPECT_THAT(ran.err, HasSubstr("hecactl: migrate: not done within 200ms; the VM stays here unless it had changed"));
}

TEST_F(App, TimeoutAndSocketReachTheClient) {
  EXPECT_EQ(Hecactl({"regions", "--socket", "/tmp/s", "--timeout", "2.5"}).code, 0);
  EXPECT_EQ(options_.socket_path, "/tmp/s");
  EXPECT_EQ(options_.call_timeout, Millis(2500));
}

TEST_F(App, ExitCodesOfErrors) {
  const std::pair<ErrorCode, int> codes[] = {
      {ErrorCode::kInvalidArgument, 2},  {ErrorCode::kNotFound, 4},           {ErrorCode::kAlreadyExists, 4},
      {ErrorCode::kPermissionDenied, 4}, {ErrorCode::kFailedPrecondition, 4}, {ErrorCode::kUnavailable, 3},
      {ErrorCode::kDeadlineExceeded, 5}, {ErrorCode::kResourceExhausted, 4},  {ErrorCode::kBusy, 1},
      {ErrorCode::kAborted, 130},        {ErrorCode::kDataLoss, 1},           {ErrorCode::kUnsupported, 4},
      {ErrorCode::kInternal, 1}};
  for (const auto& [error, code] : codes) {
    fake_.FailWith(Status(error, "VM 'x' does not do: do that"));
    const Ran ran = Hecactl({"attach", "--domain", "x", "--socket", "/no/such/socket"});
    EXPECT_EQ(ran.code, code) << ToString(error);
    EXPECT_EQ(ran.err, "hecactl: attach: VM 'x' does not do: do that\n");
    EXPECT_EQ(ran.out, "");
  }
  EXPECT_EQ(ExitCodeOf(Status(ErrorCode::kUnavailable, "sponsor away"), true), ExitCode::kFailed);
}

TEST_F(App, DoctorAndVersionDoWithoutHecad) {
  fake_.FailWith(Status(ErrorCode::kUnavailable, "nobody listens"));
  const Ran doctor = Hecactl({"doctor", "--json"});
  EXPECT_EQ(doctor.code, 1);
  const json checks = json::parse(doctor.out);
  EXPECT_EQ(checks["hecad_running"], false);
  EXPECT_EQ(checks["checks"][0]["name"], "hecad");
  EXPECT_EQ(checks["checks"][0]["what"], "nobody listens");
  EXPECT_EQ(checks["checks"][1]["name"], "kernel");
  EXPECT_EQ(Hecactl({"version"}).code, 0);
}

struct Usage {
  std::vector<std::string> args;
  const char* text;
};

TEST_F(App, UsageErrors) {
  const Usage cases[] = {
      {{"detch", "vm1"}, "hecactl: 'detch' is no command; did you mean 'detach'?; see hecactl --help\n"},
      {{"attach"}, "hecactl: Exactly 1 option from [--domain,--pid] is required; see hecactl --help\n"},
      {{"attach", "--pid", "1", "--local", "2GB"},
       "hecactl: attach: --local: '2GB' is not a size (GB is 1000 for some and 1024 for others): write it "
       "like 2GiB, "
       "512MiB, 64M or 4096 (bytes)\n"},
      {{"attach", "--pid", "1", "--ratio", "3"},
       "hecactl: attach: --ratio: '3' is not a ratio: write it like 1:3 (local:remote, whole numbers from 1 "
       "to 1000)\n"},
      {{"attach", "--pid", "1", "--option", "x"}, "hecactl: attach: --option: 'x' is not NAME=VALUE\n"},
      {{"migrate", "--pid", "7", "m2"}, "hecactl: --pid requires --qmp; see hecactl --help\n"},
      {{"migrate", "--domain", "vm1"},
       "hecactl: migrate: say where to, and nothing else: hecactl migrate ... DEST\n"},
      {{"migrate", "vm1"}, "hecactl: migrate: say what moves, and where to: hecactl migrate DOMAIN DEST\n"},
      {{"migrate", "vm1", "m2", "--dest-pid", "8", "--dest-qmp", "/q", "--uri", "tcp:h:1"},
       "hecactl: migrate: --dest-pid is for a QEMU that --pid names, not for a domain\n"},
      {{"migrate", "--pid", "7", "--qmp", "/q", "m2", "--no-persistent"},
       "hecactl: migrate: --persistent is for a libvirt domain, not for --pid\n"},
      {{"migrate", "--pid", "7", "--qmp", "/q", "m2", "--bandwidth", "2GB"},
       "hecactl: migrate: --bandwidth: '2GB' is not a size (GB is 1000 for some and 1024 for others): write it "
       "like 2GiB, 512MiB, 64M or 4096 (bytes)\n"},
      {{"limit", "vm1", "much"},
       "hecactl: limit: 'much' is not a size: write it like 2GiB, 512MiB, 64M or 4096 (bytes)\n"},
  };
  for (const Usage& usage : cases) {
    const Ran ran = Hecactl(usage.args);
    EXPECT_EQ(ran.code, 2) << usage.text;
    EXPECT_EQ(ran.err, usage.text);
  }
  for (const auto& args :
       std::vector<std::vector<std::string>>{{},
                                             {"attach", "--pid", "0"},
                                             {"attach", "--pid", "1", "--domain", "x"},
                                             {"attach", "--pid", "1", "--local", "1G", "--ratio", "1:1"},
                                             {"attach", "--pid", "1", "--on-loss", "zero"},
                                             {"limit", "vm1"},
                                             {"detach"},
                                             {"migrate", "m2"},
                                             {"migrate", "--pid", "7", "--qmp", "/q", "--domain", "x", "m2"},
                                             {"migrate", "--domain", "x", "m2", "--dest-pid", "8", "--uri", "tcp:a:1"},
                                             {"migrate", "--domain", "x", "m2", "--dest-qmp", "/q"},
                                             {"migrate", "--pid", "7", "--qmp", "/q", "m2", "--mode", "fast"},
                                             {"migrate", "--pid", "7", "--qmp", "/q", "m2", "--downtime-ms", "0"},
                                             {"migrate", "--pid", "7", "--qmp", "/q", "m2", "--downtime-ms", "2000001"},
                                             {"migrate", "--domain", "x", "m2", "surplus"},
                                             {"resolve", "vm1"},
                                             {"resolve", "vm1", "--lost", "forget"},
                                             {"top", "--interval", "0"},
                                             {"status", "surplus"},
                                             {"completion", "csh"}}) {
    const Ran ran = Hecactl(args);
    EXPECT_EQ(ran.code, 2) << ::testing::PrintToString(args) << ran.out;
    EXPECT_THAT(ran.err, StartsWith("hecactl: "));
  }
}

TEST_F(App, HelpAndVersion) {
  const Ran help = Hecactl({"--help"});
  EXPECT_EQ(help.code, 0);
  for (const char* verb : {"doctor", "status", "nodes", "regions", "attach", "limit", "detach", "migrate", "migrations",
                           "resolve", "events", "top", "leases", "xml"}) {
    EXPECT_THAT(help.out, HasSubstr(std::string("\n  ") + verb + " "));
  }
  const Ran attach = Hecactl({"attach", "--help"});
  EXPECT_EQ(attach.code, 0);
  EXPECT_THAT(attach.out, HasSubstr("Usage: hecactl attach"));
  EXPECT_THAT(Hecactl({"leases", "free", "--help"}).out, HasSubstr("Usage: hecactl leases free"));
  EXPECT_THAT(Hecactl({"--version"}).out, StartsWith("hecactl "));
}

}  // namespace
}  // namespace heca::cli
