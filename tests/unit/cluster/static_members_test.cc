// SPDX-License-Identifier: LGPL-2.1-or-later
// Heartbeats over real gRPC and TCP.
#include "cluster/static_members.h"

#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "control/peer_server.h"
#include "control/sponsor_client.h"
#include "support/fake_sponsor.h"

namespace heca::cluster {
namespace {

using std::chrono::seconds;

class StaticMembersTest : public ::testing::Test {
 protected:
  void SetUp() override { StartServer(0); }
  void StartServer(std::uint16_t port) {
    auto server = control::PeerServer::Start({.host = "127.0.0.1", .port = port}, sponsor_);
    ASSERT_TRUE(server.ok()) << server.status().ToString();
    server_ = std::move(server).value();
  }
  static Result<std::unique_ptr<control::SponsorApi>> Open(const PeerConfig& peer) {
    HECA_ASSIGN_OR_RETURN(auto client,
                          control::SponsorClient::Create({.endpoint = peer.endpoint, .call_timeout = Millis(500)}));
    return std::unique_ptr<control::SponsorApi>(std::move(client));
  }
  [[nodiscard]] PeerConfig Config(const std::string& name = "m1") const {
    return {name, "127.0.0.1:" + std::to_string(server_->port()), "rack"};
  }
  void Watch(std::vector<PeerConfig> peers) {
    auto members = StaticMembers::Create(
        std::move(peers), Open,
        [this](Change change, const Member& member) {
          const std::lock_guard lock(mutex_);
          news_.emplace_back(change, member.config.name);
          told_.notify_all();
        },
        {.period = Millis(20), .misses_allowed = 2});
    ASSERT_TRUE(members.ok()) << members.status().ToString();
    members_ = std::move(members).value();
    EXPECT_TRUE(members_->WaitForFirstRound(Deadline::After(seconds(10))));
  }
  /// Waits for the next piece of news, and takes it.
  Change Next() {
    std::unique_lock lock(mutex_);
    if (!told_.wait_for(lock, seconds(10), [&] { return taken_ < news_.size(); })) return Change::kInvalid;
    return news_[taken_++].first;
  }

  testing::FakeSponsor sponsor_;
  std::unique_ptr<control::PeerServer> server_;
  std::mutex mutex_;
  std::condition_variable told_;
  std::vector<std::pair<Change, std::string>> news_;
  std::size_t taken_ = 0;
  std::unique_ptr<StaticMembers> members_;  // goes first: its threads use the above
};

TEST_F(StaticMembersTest, AnAlivePeerIsDescribed) {
  Watch({Config()});
  EXPECT_EQ(Next(), Change::kUp);
  const Member member = members_->Find("m1").value();
  EXPECT_EQ(member.health, Health::kAlive);
  EXPECT_EQ(member.info.boot_id, "boot-1");
  EXPECT_EQ(member.info.free, Bytes(1 << 30));
  EXPECT_EQ(member.config.failure_domain, "rack");
  EXPECT_GT(member.rtt, Nanos::zero());
  EXPECT_LT(member.rtt, seconds(1));
  EXPECT_EQ(member.trouble, "");
  EXPECT_EQ(members_->List().size(), 1U);
  EXPECT_FALSE(members_->Find("m2").has_value());
  EXPECT_TRUE(members_->Sponsor("m1").value()->Describe().ok());
  const Status none = members_->Sponsor("m2").status();
  EXPECT_EQ(none.code(), ErrorCode::kNotFound);
  EXPECT_NE(none.message().find("it names m1"), std::string::npos);
}

TEST_F(StaticMembersTest, APeerThatGoesAndComesBackIsToldOnceEach) {
  Watch({Config()});
  EXPECT_EQ(Next(), Change::kUp);
  const std::uint16_t port = server_->port();
  server_.reset();
  EXPECT_EQ(Next(), Change::kDown);
  const Member gone = members_->Find("m1").value();
  EXPECT_EQ(gone.health, Health::kUnreachable);
  EXPECT_NE(gone.trouble.find("not reachable"), std::string::npos) << gone.trouble;
  EXPECT_EQ(gone.info.boot_id, "boot-1") << "what was known of it stays";
  StartServer(port);
  EXPECT_EQ(Next(), Change::kUp);
  EXPECT_EQ(members_->Find("m1")->reboots, 0U);
}

TEST_F(StaticMembersTest, ARebootIsSeen) {
  Watch({Config()});
  EXPECT_EQ(Next(), Change::kUp);
  sponsor_.ChangeInfo([](control::SponsorInfo& info) { info.boot_id = "boot-2"; });
  EXPECT_EQ(Next(), Change::kRebooted);
  EXPECT_EQ(members_->Find("m1")->reboots, 1U);
  EXPECT_EQ(members_->Find("m1")->health, Health::kAlive);
}

TEST_F(StaticMembersTest, APeerThatHangsIsDownAndDelaysNobody) {
  testing::FakeSponsor hanging("m2");
  hanging.Block();
  auto other = control::PeerServer::Start({.host = "127.0.0.1", .port = 0}, hanging);
  ASSERT_TRUE(other.ok());
  Watch({Config(), {"m2", "127.0.0.1:" + std::to_string((*other)->port()), ""}});
  EXPECT_EQ(members_->Find("m1")->health, Health::kAlive);
  const Member silent = members_->Find("m2").value();
  EXPECT_EQ(silent.health, Health::kUnreachable);
  EXPECT_NE(silent.trouble.find("did not answer in time"), std::string::npos) << silent.trouble;
  hanging.Unblock();
}

TEST_F(StaticMembersTest, ANodeOfAnotherNameIsNotUsed) {
  Watch({Config("somebody")});
  EXPECT_EQ(Next(), Change::kDown);
  const Member member = members_->Find("somebody").value();
  EXPECT_EQ(member.health, Health::kMisnamed);
  EXPECT_NE(member.trouble.find("is node 'm1'"), std::string::npos) << member.trouble;
}

TEST_F(StaticMembersTest, WrongListsAreRefused) {
  const auto create = [](std::vector<PeerConfig> peers) {
    return StaticMembers::Create(std::move(peers), Open, nullptr, {}).status().code();
  };
  EXPECT_EQ(create({{"", "h:1", ""}}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(create({{"a", "h:1", ""}, {"a", "h:2", ""}}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(create({{"a", "nonsense", ""}}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(create({}), ErrorCode::kOk);
}

}  // namespace
}  // namespace heca::cluster
