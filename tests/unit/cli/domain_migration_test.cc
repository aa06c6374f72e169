// SPDX-License-Identifier: LGPL-2.1-or-later
// `hecactl migrate DOMAIN DEST` against a libvirt and a hecad that are played. tests/python/test_hecactl_migrate.py runs the
// program with a virsh of its own, tests/lab/test_hecactl_migrate.py with two libvirt hosts.
#include "cli/domain_migration.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/fake_node.h"
#include "support/node_samples.h"

namespace heca::cli {
namespace {

using namespace heca::testing;
using ::testing::HasSubstr;

constexpr char kUuid[] = "6bd0ee0e-4eb7-4a4b-9bd1-9a2f8a7a3c11";

std::string Xml(const std::string& metadata) {
  return std::string("<domain type='kvm'><name>vm1</name><uuid>") + kUuid + "</uuid><memory>1048576</memory><metadata>" +
         metadata + "</metadata></domain>";
}

class FakeLibvirt final : public Libvirt {
 public:
  Result<std::string> Xml(const std::string& domain) override {
    asked.push_back(domain);
    return xml;
  }
  Result<std::string> State(const std::string&) override { return state; }
  Result<bool> IsPersistent(const std::string&) override { return persistent; }
  Status Migrate(const LibvirtMigration& migration) override {
    begun = migration;
    return {};
  }
  std::optional<Status> Migrated(Millis) override { return migrated ? migrated() : std::nullopt; }
  Status Abort(const std::string& domain) override {
    aborted = domain;
    return abort_answer;
  }

  std::string xml = cli::Xml("<heca:memory xmlns:heca='https://hecatonchire.org/xmlns/1' migration='post-copy'/>");
  std::string state = "running";
  bool persistent = true;
  std::function<std::optional<Status>()> migrated;
  Status abort_answer;
  std::vector<std::string> asked;
  std::optional<LibvirtMigration> begun;
  std::string aborted;
};

class Watcher final : public control::ProgressSink {
 public:
  void OnProgress(const control::Progress& progress) override {
    if (seen.empty() || seen.back().phase != progress.phase || seen.back().text != progress.text) seen.push_back(progress);
    if (on_progress) on_progress(progress);
  }
  [[nodiscard]] bool Cancelled() const override { return cancelled; }
  [[nodiscard]] std::vector<std::string> phases() const {
    std::vector<std::string> all;
    for (const auto& one : seen) all.push_back(one.phase);
    return all;
  }
  std::vector<control::Progress> seen;
  std::function<void(const control::Progress&)> on_progress;
  bool cancelled = false;
};

control::MigrationInfo At(const std::string& phase) {
  control::MigrationInfo info = SampleDeparture();
  info.progress.phase = phase;
  return info;
}

control::MigrationInfo Ended(bool ok, const std::string& phase, const std::string& trouble = "") {
  control::MigrationInfo info = At(phase);
  info.over = true;
  info.ok = ok;
  info.trouble = trouble;
  return info;
}

class MigrateDomain : public ::testing::Test {
 protected:
  void SetUp() override {
    control::PeerInfo self;
    self.name = "c1";
    self.endpoint = "10.1.0.1:7300";
    self.health = control::PeerHealth::kSelf;
    control::PeerInfo peer = self;
    peer.name = "c2";
    peer.endpoint = "10.1.0.2:7300";
    peer.health = control::PeerHealth::kAlive;
    node_.nodes = {self, peer};
    node_.migrations = [this] {
      // The first call is from before the beginning; then one step a look, and the last one for ever.
      std::vector<control::MigrationInfo> now = before_;
      if (looks_ > 0 && !steps_.empty()) {
        const auto& step = steps_[std::min(looks_ - 1, steps_.size() - 1)];
        if (step) now.push_back(*step);
      }
      ++looks_;
      return now;
    };
    libvirt_.migrated = [this]() -> std::optional<Status> {
      if (looks_ <= libvirt_takes_) return std::nullopt;
      return libvirt_says_;
    };
  }

  Result<control::MigrationSummary> Migrate(const std::string& destination = "c2") {
    move_.domain = "vm1";
    move_.destination = destination;
    DomainMigration migration(move_, node_, libvirt_);
    auto summary = migration.Run(watcher_);
    uri_ = migration.uri();
    return summary;
  }

  FakeNode node_;
  FakeLibvirt libvirt_;
  Watcher watcher_;
  DomainMove move_;
  std::string uri_;
  std::vector<control::MigrationInfo> before_;
  std::vector<std::optional<control::MigrationInfo>> steps_ = {std::nullopt, At("stream"), At("post-copy"),
                                                               Ended(true, "complete")};
  std::size_t looks_ = 0;
  std::size_t libvirt_takes_ = 3;
  Status libvirt_says_;
};

TEST_F(MigrateDomain, IsOverWhenLibvirtIsDoneAndNothingIsLeftHere) {
  const auto summary = Migrate();
  ASSERT_TRUE(summary.ok()) << summary.status().ToString();
  EXPECT_EQ(summary->faults, 1234U);
  EXPECT_EQ(libvirt_.begun->domain, kUuid);
  EXPECT_EQ(libvirt_.begun->uri, "qemu+tcp://10.1.0.2/system");
  EXPECT_TRUE(libvirt_.begun->persistent);
  EXPECT_TRUE(libvirt_.begun->undefine_source);
  EXPECT_EQ(watcher_.phases(), (std::vector<std::string>{"prepare", "stream", "post-copy", "complete"}));
  EXPECT_EQ(watcher_.seen.back().text, "1234 faults served");
}

TEST_F(MigrateDomain, WhatIsToBeOtherwiseIsOrderedBeforeLibvirtBegins) {
  ASSERT_TRUE(Migrate().ok());
  EXPECT_FALSE(node_.last_steer()) << "the metadata say it";
  looks_ = 0;
  move_.order.mode = control::MigrationMode::kHybrid;
  node_.FailWith(Status());
  ASSERT_TRUE(Migrate().ok());
  EXPECT_EQ(node_.last_steer()->region, "vm1");
  EXPECT_EQ(node_.last_steer()->mode, control::MigrationMode::kHybrid);
}

TEST_F(MigrateDomain, WaitsForTheMemoryAfterLibvirtAndForLibvirtAfterTheMemory) {
  libvirt_takes_ = 1;
  EXPECT_TRUE(Migrate().ok());
  EXPECT_GE(looks_, 5U) << "not before its memory is there";
  looks_ = 0;
  libvirt_takes_ = 6;
  EXPECT_TRUE(Migrate().ok());
  EXPECT_GT(looks_, 6U);
  EXPECT_THAT(watcher_.phases(), ::testing::Contains("finish"));
}

TEST_F(MigrateDomain, DestinationsAreNamesHostsAndUris) {
  const std::pair<const char*, const char*> cases[] = {
      {"c2", "qemu+tcp://10.1.0.2/system"},
      {"10.1.0.2", "qemu+tcp://10.1.0.2/system"},
      {"far.example.org", "qemu+tcp://far.example.org/system"},
      {"qemu+ssh://root@c2:2222/system", "qemu+ssh://root@c2:2222/system"},
  };
  for (const auto& [destination, uri] : cases) {
    looks_ = 0;
    EXPECT_TRUE(Migrate(destination).ok());
    EXPECT_EQ(libvirt_.begun->uri, uri);
    EXPECT_EQ(uri_, uri);
  }
  move_.uri = "qemu+tls://c2.example.org/system";
  looks_ = 0;
  EXPECT_TRUE(Migrate("c2").ok());
  EXPECT_EQ(libvirt_.begun->uri, "qemu+tls://c2.example.org/system");
}

TEST_F(MigrateDomain, ADomainStaysDefinedAsItWasUnlessToldOtherwise) {
  libvirt_.persistent = false;
  EXPECT_TRUE(Migrate().ok());
  EXPECT_FALSE(libvirt_.begun->persistent);
  EXPECT_FALSE(libvirt_.begun->undefine_source);
  libvirt_.persistent = true;
  move_.persistent = false;
  looks_ = 0;
  EXPECT_TRUE(Migrate().ok());
  EXPECT_FALSE(libvirt_.begun->persistent);
  EXPECT_FALSE(libvirt_.begun->undefine_source) << "or it would be defined nowhere";
  move_ = {};
  move_.undefine_source = false;
  looks_ = 0;
  EXPECT_TRUE(Migrate().ok());
  EXPECT_TRUE(libvirt_.begun->persistent);
  EXPECT_FALSE(libvirt_.begun->undefine_source);
}

TEST_F(MigrateDomain, WhatCannotBeHecasMigrationIsRefusedBeforeLibvirtIsAsked) {
  const auto refused = [this](const std::string& destination = "c2") {
    const Status status = Migrate(destination).status();
    EXPECT_EQ(status.code(), ErrorCode::kFailedPrecondition);
    EXPECT_FALSE(libvirt_.begun);
    return std::string(status.message());
  };
  libvirt_.state = "shut off";
  EXPECT_THAT(refused(), HasSubstr("virsh start vm1"));
  libvirt_.state = "running";
  libvirt_.xml = Xml("");
  EXPECT_THAT(refused(), HasSubstr("virsh migrate --live --p2p vm1 qemu+tcp://10.1.0.2/system"));
  EXPECT_THAT(refused(), HasSubstr("hecactl xml"));
  EXPECT_THAT(refused("c1"), HasSubstr("is this host"));
  node_.nodes[1].health = control::PeerHealth::kUnreachable;
  node_.nodes[1].trouble = "refused";
  EXPECT_THAT(refused(), HasSubstr("the hecad of 'c2' does not answer at 10.1.0.2:7300 (refused)"));
  EXPECT_THAT(refused("qemu+ssh://10.1.0.2/system"), HasSubstr("does not answer"));
  node_.FailWith(Status(ErrorCode::kUnavailable, "is hecad running"));
  EXPECT_EQ(Migrate().status().code(), ErrorCode::kUnavailable);
}

TEST_F(MigrateDomain, LibvirtsErrorIsToldWithHecadsAndWithWhereTheVmIs) {
  libvirt_says_ = Status(ErrorCode::kInternal, "libvirt: no such host");
  steps_ = {std::nullopt};
  EXPECT_EQ(Migrate().status().message(), "libvirt: no such host; 'vm1' is running here");
  looks_ = 0;
  steps_ = {At("prepare"), At("stream"), At("stream"), At("stream"), Ended(false, "aborted", "called off")};
  const Status status = Migrate().status();
  EXPECT_EQ(status.code(), ErrorCode::kInternal);
  EXPECT_EQ(status.message(), "libvirt: no such host; hecad: called off; 'vm1' is running here");
}

TEST_F(MigrateDomain, AMigrationThatLibvirtDidAloneIsNoSuccess) {
  steps_ = {std::nullopt};
  const Status status = Migrate().status();
  EXPECT_EQ(status.code(), ErrorCode::kInternal);
  EXPECT_THAT(std::string(status.message()), HasSubstr("hook"));
}

TEST_F(MigrateDomain, AnEarlierDepartureOfTheSameDomainIsNotTakenForThisOne) {
  before_ = {Ended(true, "complete")};
  before_.front().image = LeaseId(1);
  steps_ = {std::nullopt};
  EXPECT_THAT(std::string(Migrate().status().message()), HasSubstr("by itself"));
}

TEST_F(MigrateDomain, ACancelBeforeTheSwitchCallsItOff) {
  steps_ = {std::nullopt, At("stream")};
  libvirt_takes_ = 1000;
  libvirt_.abort_answer = Status(ErrorCode::kFailedPrecondition, "no job yet");
  watcher_.on_progress = [&](const auto& progress) { watcher_.cancelled = progress.phase == "stream"; };
  libvirt_.migrated = [&]() -> std::optional<Status> {
    if (libvirt_.aborted.empty()) return std::nullopt;
    if (!libvirt_.abort_answer.ok()) {  // the next one is heard
      libvirt_.abort_answer = {};
      libvirt_.aborted.clear();
      return std::nullopt;
    }
    steps_ = {Ended(false, "aborted", "called off")};
    return Status(ErrorCode::kInternal, "libvirt: operation aborted");
  };
  const Status status = Migrate().status();
  EXPECT_EQ(status.code(), ErrorCode::kAborted);
  EXPECT_EQ(status.message(), "called off; 'vm1' is running here");
  EXPECT_EQ(libvirt_.aborted, kUuid);
  EXPECT_EQ(watcher_.phases().back(), "call-off");
}

TEST_F(MigrateDomain, ACancelThatComesTooLateOnlyEndsTheWait) {
  watcher_.on_progress = [&](const auto& progress) { watcher_.cancelled = progress.phase == "post-copy"; };
  const Status after = Migrate().status();
  EXPECT_EQ(after.code(), ErrorCode::kAborted);
  EXPECT_THAT(std::string(after.message()), HasSubstr("only the wait ends: 'vm1' has changed over to qemu+tcp://10.1.0.2"));
  EXPECT_EQ(libvirt_.aborted, "");
  // And in the gap, where only QEMU knows.
  looks_ = 0;
  steps_ = {At("switch-over"), At("switch-over"), At("switch-over"), At("post-copy")};
  watcher_.on_progress = [&](const auto& progress) { watcher_.cancelled = progress.phase == "switch-over"; };
  EXPECT_THAT(std::string(Migrate().status().message()), HasSubstr("too late"));
  EXPECT_EQ(libvirt_.aborted, kUuid);
}

TEST_F(MigrateDomain, AVmThatDiesThereIsDataLoss) {
  steps_ = {At("post-copy"), Ended(false, "lost", "its process has ended")};
  const Status status = Migrate().status();
  EXPECT_EQ(status.code(), ErrorCode::kDataLoss);
  EXPECT_EQ(status.message(), "'vm1' has left, and then: its process has ended");
}

TEST_F(MigrateDomain, AHecadThatIsRestartedMeanwhileIsWaitedFor) {
  const auto steps = node_.migrations;
  node_.migrations = [&, steps]() -> Result<std::vector<control::MigrationInfo>> {
    auto now = steps();
    if (looks_ >= 4 && looks_ < 8) return Status(ErrorCode::kUnavailable, "down");
    return now;
  };
  EXPECT_TRUE(Migrate().ok());
  EXPECT_GE(looks_, 8U);
  // One that was over before the next hecad was there is not in its list.
  looks_ = 0;
  steps_ = {At("post-copy"), At("post-copy"), std::nullopt};
  EXPECT_TRUE(Migrate().ok());
}

}  // namespace
}  // namespace heca::cli
