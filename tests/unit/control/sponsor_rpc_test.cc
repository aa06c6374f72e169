// SPDX-License-Identifier: LGPL-2.1-or-later
// SponsorClient and PeerServer, with real gRPC over real TCP.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/unique_fd.h"
#include "control/peer_server.h"
#include "control/sponsor_client.h"
#include "support/fake_sponsor.h"

namespace heca::control {
namespace {

using std::chrono::seconds;

class SponsorRpc : public ::testing::Test {
 protected:
  void SetUp() override {
    StartServer(0);
    client_ = Client();
  }
  void StartServer(std::uint16_t port) {
    auto server = PeerServer::Start({.host = "127.0.0.1", .port = port}, sponsor_);
    ASSERT_TRUE(server.ok()) << server.status().ToString();
    server_ = std::move(server).value();
  }
  std::unique_ptr<SponsorClient> Client(Millis timeout = seconds(10)) {
    return SponsorClient::Create({.endpoint = "127.0.0.1:" + std::to_string(server_->port()), .call_timeout = timeout})
        .value();
  }
  [[nodiscard]] unique_fd Connect() const {
    unique_fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(server_->port());
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    return fd;
  }
  static ReserveRequest Request(std::uint32_t slots = 100) {
    return {.owner_node = "n1", .owner_boot_id = "b1", .region = "vm", .page_size = kBasePage, .slots = slots};
  }

  testing::FakeSponsor sponsor_;
  std::unique_ptr<PeerServer> server_;
  std::unique_ptr<SponsorClient> client_;
};

TEST_F(SponsorRpc, DescribeCarriesEverything) {
  sponsor_.ChangeInfo([](SponsorInfo& info) {
    info.quarantined = Bytes(3);
    info.scrubbing = Bytes(4);
  });
  const auto info = client_->Describe();
  ASSERT_TRUE(info.ok()) << info.status().ToString();
  EXPECT_EQ(info->node, "m1");
  EXPECT_EQ(info->boot_id, "boot-1");
  EXPECT_EQ(info->protocol_version, kProtocolVersion);
  EXPECT_EQ(info->page_sizes, (std::vector{kBasePage, kHugePage}));
  EXPECT_EQ(info->donated, Bytes(1 << 30));
  EXPECT_EQ(info->free, Bytes(1 << 30));
  EXPECT_EQ(info->lent, Bytes(0));
  EXPECT_EQ(info->quarantined, Bytes(3));
  EXPECT_EQ(info->scrubbing, Bytes(4));
  ASSERT_EQ(info->endpoints.size(), 1U);
  EXPECT_EQ(info->endpoints[0].transport, "tcp");
  EXPECT_EQ(info->endpoints[0].address, "127.0.0.1:7300");
}

TEST_F(SponsorRpc, LifeOfALease) {
  auto lease = client_->Reserve(Request());
  ASSERT_TRUE(lease.ok()) << lease.status().ToString();
  EXPECT_EQ(lease->slots, 100U);
  EXPECT_EQ(lease->page_size, kBasePage);
  EXPECT_EQ(lease->slab_size, Bytes(64 << 20));
  EXPECT_EQ(lease->time_to_live, Millis(30'000));
  EXPECT_EQ(lease->key.secret[15], std::byte{1});
  const ReserveRequest seen = sponsor_.last_reserve().value();
  EXPECT_EQ(seen.owner_node, "n1");
  EXPECT_EQ(seen.owner_boot_id, "b1");
  EXPECT_EQ(seen.region, "vm");

  EXPECT_EQ(client_->Extend(lease->key, 50)->slots, 150U);
  EXPECT_EQ(client_->Renew(lease->key, "b1")->slots, 150U);
  const auto grant = client_->OpenData(lease->key, Role::kBulk, 7, 3);
  ASSERT_TRUE(grant.ok());
  ASSERT_EQ(grant->tokens.size(), 3U);
  EXPECT_EQ(grant->tokens[2][0], static_cast<std::byte>(Role::kBulk));
  EXPECT_EQ(grant->tokens[2][1], std::byte{9});
  EXPECT_EQ(grant->time_to_live, Millis(10'000));
  EXPECT_EQ(grant->endpoints.at(0).address, "127.0.0.1:7300");

  TakeOverRequest take_over{.key = lease->key, .to = Epoch(5), .claim = {}, .owner_node = "n2", .owner_boot_id = "b2"};
  take_over.claim.fill(std::byte{9});
  const auto taken = client_->TakeOver(take_over);
  ASSERT_TRUE(taken.ok()) << taken.status().ToString();
  EXPECT_EQ(taken->key.epoch, Epoch(5));
  EXPECT_TRUE(client_->TakeOver(take_over).ok()) << "the same claim again";
  EXPECT_EQ(sponsor_.last_take_over()->claim, take_over.claim);
  EXPECT_EQ(sponsor_.last_take_over()->owner_node, "n2");
  EXPECT_EQ(sponsor_.last_take_over()->owner_boot_id, "b2");
  EXPECT_EQ(client_->Renew(lease->key, "b1").status().code(), ErrorCode::kPermissionDenied) << "the old epoch";

  LeaseKey wrong = taken->key;
  wrong.secret[3] = std::byte{0xff};
  EXPECT_EQ(client_->Free(wrong).code(), ErrorCode::kPermissionDenied);
  EXPECT_TRUE(client_->Free(taken->key).ok());
  EXPECT_EQ(client_->Free(taken->key).code(), ErrorCode::kNotFound);
}

TEST_F(SponsorRpc, WrongValuesNeverReachTheSponsor) {
  LeaseKey key{LeaseId(1), Epoch(1), {}};
  ReserveRequest nameless = Request();
  nameless.owner_node.clear();
  ReserveRequest long_name = Request();
  long_name.region.assign(256, 'x');
  ReserveRequest control = Request();
  control.owner_boot_id = "a\nb";
  ReserveRequest odd = Request();
  odd.page_size = Bytes(5000);
  for (const ReserveRequest& request : {Request(0), nameless, long_name, control, odd}) {
    EXPECT_EQ(client_->Reserve(request).status().code(), ErrorCode::kInvalidArgument);
  }
  EXPECT_EQ(client_->Extend(key, 0).status().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(client_->Renew(key, "").status().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(client_->Renew(LeaseKey(), "b").status().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(client_->OpenData(key, Role::kInvalid, 0, 1).status().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(client_->OpenData(key, static_cast<Role>(9), 0, 1).status().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(client_->OpenData(key, Role::kBulk, 0, 0).status().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(client_->OpenData(key, Role::kBulk, 0, 65).status().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(client_->OpenData(key, Role::kBulk, UINT32_MAX, 2).status().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(client_->TakeOver({.key = key, .to = Epoch(1), .claim = {}, .owner_node = "n", .owner_boot_id = "b"})
                .status().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(sponsor_.calls(), 0);
}

TEST_F(SponsorRpc, EveryErrorCrosses) {
  for (int code = 1; code <= static_cast<int>(ErrorCode::kInternal); ++code) {
    const Status sent(static_cast<ErrorCode>(code), "why", ErrorScope::kReplica, ENOSPC);
    sponsor_.FailWith(sent);
    for (const Status& status : {client_->Describe().status(), client_->Free({LeaseId(1), Epoch(1), {}})}) {
      EXPECT_EQ(status.code(), sent.code());
      EXPECT_EQ(status.scope(), sent.scope());
      EXPECT_EQ(status.sys_errno(), sent.sys_errno());
      EXPECT_EQ(status.message(), sent.message());
      EXPECT_EQ(status.retryable(), sent.retryable());
    }
  }
}

TEST_F(SponsorRpc, ASponsorThatDoesNotAnswerIsGivenUp) {
  const auto hasty = Client(Millis(100));
  sponsor_.Block();
  const Status late = hasty->Describe().status();
  EXPECT_EQ(late.code(), ErrorCode::kDeadlineExceeded);
  EXPECT_TRUE(late.retryable());
  EXPECT_NE(late.message().find("127.0.0.1:"), std::string::npos) << late.message();
  sponsor_.Unblock();
  EXPECT_TRUE(client_->Describe().ok());
}

TEST_F(SponsorRpc, ASponsorMayTakeItsTimeToAllocate) {
  const auto hasty = Client(Millis(100));
  sponsor_.Block();
  std::thread later([this] {
    std::this_thread::sleep_for(Millis(400));
    sponsor_.Unblock();
  });
  const auto lease = hasty->Reserve(Request());
  later.join();
  ASSERT_TRUE(lease.ok()) << lease.status().ToString();
  EXPECT_TRUE(hasty->Extend(lease->key, 10).ok());
}

TEST_F(SponsorRpc, OldAndNewPeersAreNamed) {
  sponsor_.ChangeInfo([](SponsorInfo& info) { info.protocol_version = info.oldest_protocol_version = 99; });
  EXPECT_EQ(client_->Describe().status().code(), ErrorCode::kUnsupported);
  sponsor_.ChangeInfo([](SponsorInfo& info) { info.protocol_version = info.oldest_protocol_version = 0; });
  EXPECT_EQ(client_->Describe().status().code(), ErrorCode::kUnsupported);
  sponsor_.ChangeInfo([](SponsorInfo& info) { info.protocol_version = 99, info.oldest_protocol_version = 1; });
  EXPECT_TRUE(client_->Describe().ok());
  sponsor_.ChangeInfo([](SponsorInfo& info) { info.boot_id.clear(); });
  EXPECT_EQ(client_->Describe().status().code(), ErrorCode::kInternal) << "an answer outside the protocol";
}

TEST_F(SponsorRpc, ARestartedSponsorIsFoundAgain) {
  EXPECT_TRUE(client_->Describe().ok());
  const std::uint16_t port = server_->port();
  server_.reset();
  const Status gone = client_->Describe().status();
  EXPECT_EQ(gone.code(), ErrorCode::kUnavailable) << gone.ToString();
  EXPECT_EQ(gone.scope(), ErrorScope::kConnection);
  StartServer(port);
  const Deadline deadline = Deadline::After(seconds(10));
  bool found = false;
  while (!found && !deadline.Passed()) found = client_->Describe().ok();
  EXPECT_TRUE(found);
}

TEST_F(SponsorRpc, RandomBytesHarmNobody) {
  std::mt19937_64 random(7);
  std::vector<unique_fd> left_open;
  for (int i = 0; i < 200; ++i) {
    unique_fd fd = Connect();
    std::string bytes;
    if (i % 4 == 1) bytes = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";  // a right beginning, then garbage
    if (i % 4 == 2) bytes = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    const std::size_t size = std::size_t{1} << (random() % 16);
    while (bytes.size() < size) bytes.push_back(static_cast<char>(random()));
    static_cast<void>(::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
    if (i % 8 == 0) left_open.push_back(std::move(fd));
    if (i % 50 == 0) {
      EXPECT_TRUE(client_->Describe().ok());
    }
  }
  EXPECT_TRUE(client_->Describe().ok());
  // Whoever sent garbage is cut off: the other end closes.
  for (const unique_fd& fd : left_open) {
    const Deadline deadline = Deadline::After(seconds(10));
    ssize_t got = 1;
    while (got > 0 && !deadline.Passed()) {
      pollfd waiting{fd.get(), POLLIN, 0};
      std::array<char, 256> ignored{};
      if (::poll(&waiting, 1, deadline.LeftMs()) == 1) got = ::recv(fd.get(), ignored.data(), ignored.size(), 0);
    }
    EXPECT_LE(got, 0);
  }
}

TEST_F(SponsorRpc, AMessageThatIsTooLargeIsRefused) {
  ReserveRequest request = Request();
  request.region.assign(100'000, 'x');
  EXPECT_EQ(client_->Reserve(request).status().code(), ErrorCode::kResourceExhausted);
  EXPECT_TRUE(client_->Describe().ok());
}

TEST_F(SponsorRpc, MoreCallsThanThreadsAreRefusedAndTheRestGoesOn) {
  sponsor_.Block();
  std::atomic<int> refused{0};
  std::atomic<int> served{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 60; ++i) {
    threads.emplace_back([&] {
      const Status status = client_->Describe().status();
      if (status.ok()) ++served;
      if (status.code() == ErrorCode::kResourceExhausted) ++refused;
    });
  }
  const Deadline deadline = Deadline::After(seconds(8));
  while (refused == 0 && !deadline.Passed()) std::this_thread::yield();
  sponsor_.Unblock();
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(refused, 0);
  EXPECT_EQ(refused + served, 60);
  EXPECT_TRUE(client_->Describe().ok());
}

TEST_F(SponsorRpc, ABusyPortSaysSo) {
  const auto second = PeerServer::Start({.host = "127.0.0.1", .port = server_->port()}, sponsor_);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.status().code(), ErrorCode::kFailedPrecondition);
  const std::string text(second.status().message());
  EXPECT_NE(text.find("127.0.0.1:" + std::to_string(server_->port())), std::string::npos) << text;
  EXPECT_NE(text.find("choose another"), std::string::npos) << text;
  EXPECT_EQ(PeerServer::Start({.host = "192.0.2.1", .port = 0}, sponsor_).status().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(PeerServer::Start({.host = "no such host", .port = 0}, sponsor_).status().code(),
            ErrorCode::kInvalidArgument);
}

TEST(SponsorEndpoint, IsHostAndPort) {
  for (const char* good : {"m1:7301", "10.0.0.1:1", "[fd00::1]:65535", "m1.example.org:7301"}) {
    EXPECT_TRUE(SponsorClient::Create({.endpoint = good}).ok()) << good;
  }
  for (const char* bad : {"", "m1", ":7301", "m1:", "m1:0", "m1:65536", "m1:99999999999", "m1:73x", "fd00::1:7301",
                          "unix:/x", "dns:///m1:7301"}) {
    EXPECT_EQ(SponsorClient::Create({.endpoint = bad}).status().code(), ErrorCode::kInvalidArgument) << bad;
  }
}

}  // namespace
}  // namespace heca::control
