// SPDX-License-Identifier: LGPL-2.1-or-later
// MigrationClient and PeerServer, with real gRPC over real TCP.
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "control/convert_migration.h"
#include "control/migration_client.h"
#include "control/peer_server.h"
#include "control/sponsor_client.h"
#include "support/fake_migration.h"
#include "support/fake_sponsor.h"

namespace heca::control {
namespace {

using std::chrono::seconds;

class MigrationRpc : public ::testing::Test {
 protected:
  void SetUp() override {
    Serve(&migrations_);
    client_ = Client();
  }
  void Serve(MigrationApi* migrations) {
    auto server = PeerServer::Start({.host = "127.0.0.1", .port = 0}, sponsor_, migrations);
    ASSERT_TRUE(server.ok()) << server.status().ToString();
    server_ = std::move(server).value();
  }
  [[nodiscard]] std::string Endpoint() const { return "127.0.0.1:" + std::to_string(server_->port()); }
  std::unique_ptr<MigrationClient> Client(Millis call = seconds(10), Millis prepare = seconds(20)) {
    return MigrationClient::Create({.endpoint = Endpoint(), .call_timeout = call, .prepare_timeout = prepare}).value();
  }
  static PrepareRequest Request() {
    PrepareRequest request;
    request.region = "vm-1";
    request.source_node = "c1";
    request.source_address = "10.1.0.2:7301";
    request.image.key = {LeaseId(7), Epoch(2), {}};
    request.image.key.secret.fill(std::byte{0xab});
    request.image.slots = 300;
    request.image.page_size = kBasePage;
    request.image.slab_size = Bytes(64 << 20);
    request.image.time_to_live = Millis(30'000);
    request.blocks = {{"pc.ram", Bytes(200 * 4096)}, {"dimm1", Bytes(100 * 4096)}};
    request.pid = 4711;
    request.qmp_socket = "/run/qmp.sock";
    request.uri = "unix:/run/mig.sock";
    return request;
  }

  static Arrival In(ArrivalState state) {
    Arrival arrival;
    arrival.state = state;
    return arrival;
  }

  testing::FakeSponsor sponsor_;
  testing::FakeMigration migrations_;
  std::unique_ptr<PeerServer> server_;
  std::unique_ptr<MigrationClient> client_;
};

TEST_F(MigrationRpc, WhatIsHandedOverWithAGovernedVmIsCarried) {
  PrepareRequest sent = Request();
  Governed governed{"m1", "10.1.0.9:7301", sent.image, Bytes(64 << 20), PageLoss::kPoison, TransportChoice::kTcp};
  governed.lease.key.id = LeaseId(8);
  sent.governed = governed;
  ASSERT_TRUE(client_->Prepare(sent).ok());
  const Governed seen = migrations_.last_prepare()->governed.value();
  EXPECT_EQ(seen.sponsor, "m1");
  EXPECT_EQ(seen.sponsor_address, "10.1.0.9:7301");
  EXPECT_EQ(seen.lease.key.id, LeaseId(8));
  EXPECT_EQ(seen.lease.key.secret, governed.lease.key.secret);
  EXPECT_EQ(seen.limit, Bytes(64 << 20));
  EXPECT_EQ(seen.page_loss, PageLoss::kPoison);
  EXPECT_EQ(seen.transport, TransportChoice::kTcp);

  Departing departing{sent.image, sent.blocks, governed};
  migrations_.DepartWith(departing);
  const auto departed = client_->Depart({"vm-1", "11111111-2222-3333-4444-555555555555", "c2", "10.1.0.3:7301"});
  ASSERT_TRUE(departed.ok()) << departed.status().ToString();
  EXPECT_EQ(departed->governed->sponsor, "m1");
  EXPECT_EQ(departed->governed->transport, TransportChoice::kTcp);

  sent.region = "vm-2";
  sent.governed->transport = static_cast<TransportChoice>(99);
  EXPECT_EQ(client_->Prepare(sent).code(), ErrorCode::kInvalidArgument);
  sent.governed->transport = TransportChoice::kTcp;
  sent.governed->limit = Bytes(0);
  EXPECT_EQ(client_->Prepare(sent).code(), ErrorCode::kInvalidArgument);
  sent.governed->limit = Bytes(64 << 20);
  sent.governed->lease.page_size = kHugePage;
  EXPECT_EQ(client_->Prepare(sent).code(), ErrorCode::kInvalidArgument);
}

TEST_F(MigrationRpc, ALongListOfPlacesComesInPiecesOfWhichTheLastSaysSo) {
  const PrepareRequest request = Request();
  ASSERT_TRUE(client_->Prepare(request).ok());
  Placement placement;
  for (std::uint32_t i = 0; i < kMaxPlacedRuns + 5; ++i) placement.runs.push_back({2 * i, 1, Slot(7 * i + 1)});
  placement.complete = true;
  placement.mark = Slot(99'999);
  placement.pages = placement.runs.size();
  ASSERT_TRUE(client_->Place("vm-1", request.image.key, placement).ok());
  const auto seen = migrations_.placed();
  ASSERT_EQ(seen.size(), 2U);
  EXPECT_FALSE(seen[0].complete);
  EXPECT_TRUE(seen[1].complete);
  EXPECT_EQ(seen[1].mark, Slot(99'999));
  EXPECT_EQ(seen[1].pages, placement.pages);
  EXPECT_EQ(seen[0].runs.size() + seen[1].runs.size(), placement.runs.size());
  EXPECT_EQ(seen[1].runs.back(), placement.runs.back());

  ASSERT_TRUE(client_->Place("vm-1", request.image.key, {{}, true, kNoSlot, 0}).ok()) << "a VM of which nothing is away";
  EXPECT_EQ(client_->Place("vm-1", request.image.key, {{{0, 0, Slot(1)}}}).code(), ErrorCode::kInvalidArgument);
  ASSERT_TRUE(client_->Place("vm-1", request.image.key, {.runs = {{0, 1, kNoSlot}}, .number = 12}).ok());
  EXPECT_EQ(migrations_.placed().back().runs, (std::vector<PlacedRun>{{0, 1, kNoSlot}})) << "it lies in the image";
  EXPECT_EQ(migrations_.placed().back().number, 12U);
  LeaseKey wrong = request.image.key;
  wrong.secret.fill(std::byte{1});
  EXPECT_EQ(client_->Place("vm-1", wrong, placement).code(), ErrorCode::kPermissionDenied);
}

TEST_F(MigrationRpc, PrepareCarriesEverything) {
  const PrepareRequest sent = Request();
  ASSERT_TRUE(client_->Prepare(sent).ok());
  const PrepareRequest seen = migrations_.last_prepare().value();
  EXPECT_EQ(seen.region, sent.region);
  EXPECT_EQ(seen.source_node, sent.source_node);
  EXPECT_EQ(seen.source_address, sent.source_address);
  EXPECT_EQ(seen.image.key.id, sent.image.key.id);
  EXPECT_EQ(seen.image.key.epoch, sent.image.key.epoch);
  EXPECT_EQ(seen.image.key.secret, sent.image.key.secret);
  EXPECT_EQ(seen.image.slots, sent.image.slots);
  EXPECT_EQ(seen.image.page_size, sent.image.page_size);
  EXPECT_EQ(seen.image.slab_size, sent.image.slab_size);
  EXPECT_EQ(seen.image.time_to_live, sent.image.time_to_live);
  ASSERT_EQ(seen.blocks.size(), 2U);
  EXPECT_EQ(seen.blocks[0].name, "pc.ram");
  EXPECT_EQ(seen.blocks[0].size, Bytes(200 * 4096));
  EXPECT_EQ(seen.blocks[1].name, "dimm1");
  EXPECT_EQ(seen.blocks[1].size, Bytes(100 * 4096));
  EXPECT_EQ(seen.pid, sent.pid);
  EXPECT_EQ(seen.domain, "");
  EXPECT_EQ(seen.qmp_socket, sent.qmp_socket);
  EXPECT_EQ(seen.uri, sent.uri);

  PrepareRequest domain = Request();
  domain.region = "web";
  domain.pid = 0;
  domain.domain = "web";
  domain.qmp_socket = domain.uri = "";
  ASSERT_TRUE(client_->Prepare(domain).ok());
  EXPECT_EQ(migrations_.last_prepare()->pid, 0);
  EXPECT_EQ(migrations_.last_prepare()->domain, "web");
  EXPECT_EQ(migrations_.last_prepare()->uri, "");
}

TEST_F(MigrationRpc, LifeOfAnArrival) {
  const PrepareRequest request = Request();
  const LeaseKey& key = request.image.key;
  EXPECT_EQ(client_->Look(request.region, key, 0).status().code(), ErrorCode::kNotFound);
  ASSERT_TRUE(client_->Prepare(request).ok());
  EXPECT_EQ(client_->Prepare(request).code(), ErrorCode::kAlreadyExists);
  EXPECT_EQ(client_->Look(request.region, key, 0)->state, ArrivalState::kPrepared);
  LeaseKey wrong = key;
  wrong.secret[0] = std::byte{1};
  EXPECT_EQ(client_->Open(request.region, wrong).code(), ErrorCode::kPermissionDenied);
  EXPECT_TRUE(client_->Open(request.region, key).ok());
  EXPECT_TRUE(client_->Open(request.region, key).ok()) << "it may be repeated";

  Arrival sent;
  sent.left = Bytes(1);
  sent.moved = Bytes(2);
  sent.zero = Bytes(3);
  sent.open_to_resume = Nanos(4);
  sent.faults = 5;
  sent.fault_p50 = Nanos(6);
  sent.fault_p99 = Nanos(7);
  sent.blocked = Nanos(70);
  sent.blocktime = Blocktime{{Nanos(40), Nanos(20)}, Nanos(15), Nanos(10)};
  sent.trouble = "the source is slow";
  for (const ArrivalState state : {ArrivalState::kPrepared, ArrivalState::kOpen, ArrivalState::kComplete,
                                   ArrivalState::kFailed, ArrivalState::kRunning}) {
    sent.state = state;
    migrations_.Arrive(request.region, sent);
    const auto seen = client_->Look(request.region, key, 0);
    ASSERT_TRUE(seen.ok()) << seen.status().ToString();
    EXPECT_EQ(seen->state, state);
    EXPECT_EQ(seen->left, sent.left);
    EXPECT_EQ(seen->moved, sent.moved);
    EXPECT_EQ(seen->zero, sent.zero);
    EXPECT_EQ(seen->open_to_resume, sent.open_to_resume);
    EXPECT_EQ(seen->faults, sent.faults);
    EXPECT_EQ(seen->fault_p50, sent.fault_p50);
    EXPECT_EQ(seen->fault_p99, sent.fault_p99);
    EXPECT_EQ(seen->blocked, sent.blocked);
    EXPECT_EQ(seen->blocktime, sent.blocktime);
    EXPECT_EQ(seen->trouble, sent.trouble);
  }
  for (const std::optional<Blocktime>& unknown :
       {std::optional<Blocktime>(), std::optional(Blocktime{std::vector<Nanos>(4097), Nanos(0), Nanos(0)}),
        std::optional(Blocktime{{Nanos(1)}, Nanos::max(), Nanos(0)})}) {
    sent.blocktime = unknown;
    migrations_.Arrive(request.region, sent);
    const auto seen = client_->Look(request.region, key, 0);
    ASSERT_TRUE(seen.ok()) << "a number that makes no sense ends no migration";
    EXPECT_EQ(seen->blocktime, std::nullopt);
  }
  EXPECT_EQ(client_->Abort(request.region, key, "too late").code(), ErrorCode::kFailedPrecondition);
  EXPECT_EQ(migrations_.last_why(), "too late");
  migrations_.Arrive(request.region, In(ArrivalState::kOpen));
  EXPECT_TRUE(client_->Abort(request.region, key, "").ok());
  EXPECT_EQ(client_->Abort(request.region, key, "").code(), ErrorCode::kNotFound);
}

struct Wrong {
  const char* what;
  std::function<void(PrepareRequest&)> change;
};

TEST_F(MigrationRpc, DepartCarriesEverythingBothWays) {
  const PrepareRequest request = Request();
  migrations_.DepartWith({request.image, request.blocks, std::nullopt});
  const DepartRequest asked{"shop", "43756c77-f706-4ef8-a6f9-7c3677e4b22f", "n2", "10.1.0.3:7300"};
  const auto departing = client_->Depart(asked);
  ASSERT_TRUE(departing.ok()) << departing.status().ToString();
  EXPECT_EQ(departing->image.key.id, request.image.key.id);
  EXPECT_EQ(departing->image.key.secret, request.image.key.secret);
  EXPECT_EQ(departing->image.slots, request.image.slots);
  ASSERT_EQ(departing->blocks.size(), 2U);
  EXPECT_EQ(departing->blocks[1].name, "dimm1");
  EXPECT_EQ(departing->blocks[1].size, Bytes(100 * 4096));
  const auto seen = migrations_.last_depart();
  ASSERT_TRUE(seen.has_value());
  EXPECT_EQ(seen->domain, asked.domain);
  EXPECT_EQ(seen->uuid, asked.uuid);
  EXPECT_EQ(seen->destination_node, asked.destination_node);
  EXPECT_EQ(seen->destination_address, asked.destination_address);
  const int calls = migrations_.calls();
  for (const DepartRequest& wrong : {DepartRequest{"", asked.uuid, "n2", "10.1.0.3:7300"},
                                     DepartRequest{"shop", "", "n2", "10.1.0.3:7300"},
                                     DepartRequest{"shop", asked.uuid, "n2", "nowhere"}}) {
    EXPECT_EQ(client_->Depart(wrong).status().code(), ErrorCode::kInvalidArgument);
  }
  EXPECT_EQ(migrations_.calls(), calls);
}

TEST_F(MigrationRpc, HolesComeInAsManyCallsAsTheyTake) {
  const PrepareRequest request = Request();
  std::vector<PageRun> holes;
  for (std::uint64_t i = 0; i < 10000; ++i) holes.push_back({3 * i, 1 + i % 2});
  EXPECT_EQ(client_->Tell(request.region, request.image.key, PageNews::kEmpty, holes).code(), ErrorCode::kNotFound);
  ASSERT_TRUE(client_->Prepare(request).ok());
  const int before = migrations_.calls();
  ASSERT_TRUE(client_->Tell(request.region, request.image.key, PageNews::kEmpty, holes).ok());
  EXPECT_EQ(migrations_.calls(), before + 3);
  EXPECT_EQ(migrations_.told(), holes);
  EXPECT_EQ(client_->Tell(request.region, request.image.key, PageNews::kEmpty, {{5, 0}}).code(), ErrorCode::kInvalidArgument);
  EXPECT_TRUE(client_->Tell(request.region, request.image.key, PageNews::kEmpty, {}).ok());
  LeaseKey wrong = request.image.key;
  wrong.secret[0] ^= std::byte{1};
  EXPECT_EQ(client_->Tell(request.region, wrong, PageNews::kEmpty, holes).code(), ErrorCode::kPermissionDenied);
  EXPECT_TRUE(client_->Tell(request.region, request.image.key, PageNews::kChanged, {{1, 1}}).ok());
  EXPECT_EQ(migrations_.last_news(), PageNews::kChanged);
  EXPECT_EQ(client_->Tell(request.region, request.image.key, static_cast<PageNews>(9), {{1, 1}}).code(),
            ErrorCode::kInvalidArgument);
  ASSERT_TRUE(client_->Look(request.region, request.image.key, 123456).ok());
  EXPECT_EQ(migrations_.last_bandwidth(), 123456U);
}

TEST_F(MigrationRpc, WrongValuesNeverReachTheApi) {
  const Wrong wrongs[] = {
      {"no region", [](PrepareRequest& r) { r.region.clear(); }},
      {"region name", [](PrepareRequest& r) { r.region = "a/b"; }},
      {"no source", [](PrepareRequest& r) { r.source_node.clear(); }},
      {"long source", [](PrepareRequest& r) { r.source_node.assign(256, 'x'); }},
      {"no address", [](PrepareRequest& r) { r.source_address.clear(); }},
      {"address without port", [](PrepareRequest& r) { r.source_address = "10.1.0.2"; }},
      {"address of another kind", [](PrepareRequest& r) { r.source_address = "unix:/x"; }},
      {"line break in address", [](PrepareRequest& r) { r.source_address = "a\nb:7301"; }},
      {"no lease", [](PrepareRequest& r) { r.image.key.id = LeaseId(0); }},
      {"no epoch", [](PrepareRequest& r) { r.image.key.epoch = Epoch(0); }},
      {"no slots", [](PrepareRequest& r) { r.image.slots = 0; }},
      {"page size", [](PrepareRequest& r) { r.image.page_size = Bytes(5000); }},
      {"no blocks", [](PrepareRequest& r) { r.blocks.clear(); }},
      {"65 blocks",
       [](PrepareRequest& r) {
         r.blocks.clear();
         for (int i = 0; i < 65; ++i) r.blocks.push_back({"b" + std::to_string(i), kBasePage});
         r.image.slots = 65;
       }},
      {"nameless block", [](PrepareRequest& r) { r.blocks[0].name.clear(); }},
      {"a block twice", [](PrepareRequest& r) { r.blocks[1].name = r.blocks[0].name; }},
      {"empty block", [](PrepareRequest& r) { r.blocks.push_back({"e", Bytes(0)}); }},
      {"half a page",
       [](PrepareRequest& r) {
         r.blocks[0].size = Bytes(r.blocks[0].size.value() + 2048);
         r.blocks[1].size = Bytes(r.blocks[1].size.value() - 2048);
       }},
      {"smaller than the image", [](PrepareRequest& r) { r.blocks.pop_back(); }},
      {"larger than the image", [](PrepareRequest& r) { r.blocks.push_back({"x", kBasePage}); }},
      {"sizes that wrap around",
       [](PrepareRequest& r) {
         r.blocks = {{"a", Bytes(UINT64_MAX - 4095)}, {"b", Bytes(301 * 4096)}};
       }},
      {"no VM", [](PrepareRequest& r) { r.pid = 0; }},
      {"two VMs", [](PrepareRequest& r) { r.domain = "web"; }},
      {"negative pid", [](PrepareRequest& r) { r.pid = -1; }},
      {"control character in domain", [](PrepareRequest& r) { r.pid = 0, r.domain = "a\x01"; }},
      {"long path", [](PrepareRequest& r) { r.qmp_socket.assign(4096, 'x'); }},
      {"zero byte in path", [](PrepareRequest& r) { r.qmp_socket.assign(3, '\0'); }},
      {"a command", [](PrepareRequest& r) { r.uri = "exec:touch /tmp/x"; }},
      {"a descriptor", [](PrepareRequest& r) { r.uri = "fd:3"; }},
      {"nothing behind the scheme", [](PrepareRequest& r) { r.uri = "tcp:"; }},
  };
  for (const Wrong& wrong : wrongs) {
    PrepareRequest request = Request();
    wrong.change(request);
    const Status status = client_->Prepare(request);
    EXPECT_EQ(status.code(), ErrorCode::kInvalidArgument) << wrong.what << ": " << status.ToString();
  }
  const LeaseKey key = Request().image.key;
  const LeaseKey none;
  EXPECT_EQ(client_->Open("a b", key).code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(client_->Open("vm", none).code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(client_->Look("", key, 0).status().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(client_->Look("vm", none, 0).status().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(client_->Abort("a/b", key, "why").code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(client_->Abort("vm", none, "why").code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(migrations_.calls(), 0);
}

TEST_F(MigrationRpc, AMessageWithoutAVmIsRefused) {
  v1::PrepareRequest message;
  ToMessage(Request(), message);
  EXPECT_TRUE(FromMessage(message).ok());
  message.clear_target();
  EXPECT_EQ(FromMessage(message).status().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(FromMessage(v1::MigrateRequest()).status().code(), ErrorCode::kInvalidArgument);
}

TEST_F(MigrationRpc, TheLargestRequestPasses) {
  PrepareRequest request = Request();
  request.blocks.clear();
  for (int i = 0; i < 64; ++i) {
    std::string name = std::to_string(i);
    name.resize(255, 'x');
    request.blocks.push_back({name, kHugePage});
  }
  request.image.page_size = kHugePage;
  request.image.slots = 64;
  request.qmp_socket.assign(4095, 'q');
  request.uri = "tcp:" + std::string(4091, 'u');
  const Status status = client_->Prepare(request);
  EXPECT_TRUE(status.ok()) << status.ToString();
}

TEST_F(MigrationRpc, TextsForPeopleAreMadePresentable) {
  const PrepareRequest request = Request();
  ASSERT_TRUE(client_->Prepare(request).ok());
  const std::string ugly = "line\none\x7f\xff" + std::string(2000, 'y');
  Arrival arrival = In(ArrivalState::kFailed);
  arrival.trouble = ugly;
  migrations_.Arrive(request.region, arrival);
  const auto seen = client_->Look(request.region, request.image.key, 0);
  ASSERT_TRUE(seen.ok()) << seen.status().ToString();
  EXPECT_EQ(seen->trouble.size(), 1024U);
  EXPECT_TRUE(seen->trouble.starts_with("line one ?yyy")) << seen->trouble;
  ASSERT_TRUE(client_->Abort(request.region, request.image.key, ugly).ok());
  EXPECT_EQ(migrations_.last_why(), seen->trouble);
}

TEST_F(MigrationRpc, AnAnswerOutsideTheProtocolIsAnError) {
  const PrepareRequest request = Request();
  ASSERT_TRUE(client_->Prepare(request).ok());
  Arrival late = In(ArrivalState::kRunning);
  late.fault_p99 = Nanos::max();
  for (const Arrival& arrival : {Arrival(), In(static_cast<ArrivalState>(99)), late}) {
    migrations_.Arrive(request.region, arrival);
    const Status status = client_->Look(request.region, request.image.key, 0).status();
    EXPECT_EQ(status.code(), ErrorCode::kInternal) << status.ToString();
    EXPECT_EQ(status.scope(), ErrorScope::kConnection);
  }
}

TEST_F(MigrationRpc, EveryErrorCrosses) {
  const PrepareRequest request = Request();
  for (int code = 1; code <= static_cast<int>(ErrorCode::kInternal); ++code) {
    const Status sent(static_cast<ErrorCode>(code), "why", ErrorScope::kRegion, ENOSPC);
    migrations_.FailWith(sent);
    for (const Status& status : {client_->Prepare(request), client_->Open("vm", request.image.key),
                                 client_->Look("vm", request.image.key, 0).status(),
                                 client_->Abort("vm", request.image.key, "")}) {
      EXPECT_EQ(status.code(), sent.code());
      EXPECT_EQ(status.scope(), sent.scope());
      EXPECT_EQ(status.sys_errno(), sent.sys_errno());
      EXPECT_EQ(status.message(), sent.message());
    }
  }
}

TEST_F(MigrationRpc, APeerThatTakesInNoVmsSaysSoAndStillLends) {
  Serve(nullptr);
  const auto client = Client();
  const PrepareRequest request = Request();
  for (const Status& status : {client->Prepare(request), client->Open("vm", request.image.key),
                               client->Look("vm", request.image.key, 0).status(),
                               client->Abort("vm", request.image.key, "")}) {
    EXPECT_EQ(status.code(), ErrorCode::kUnsupported) << status.ToString();
    EXPECT_NE(status.message().find("destination " + Endpoint() + " takes in no VMs"), std::string::npos)
        << status.message();
  }
  EXPECT_TRUE(SponsorClient::Create({.endpoint = Endpoint()}).value()->Describe().ok());
}

TEST_F(MigrationRpc, OnlyPrepareMayTakeItsTime) {
  const auto hasty = Client(Millis(100));
  const PrepareRequest request = Request();
  migrations_.Block();
  const Status late = hasty->Open("vm", request.image.key);
  EXPECT_EQ(late.code(), ErrorCode::kDeadlineExceeded);
  EXPECT_NE(late.message().find(Endpoint()), std::string::npos) << late.message();
  std::thread later([this] {
    std::this_thread::sleep_for(Millis(400));
    migrations_.Unblock();
  });
  const Status prepared = hasty->Prepare(request);
  later.join();
  EXPECT_TRUE(prepared.ok()) << prepared.ToString();
}

TEST_F(MigrationRpc, PreparesThatWaitLeaveThreadsToTheOthers) {
  migrations_.Block();
  std::atomic<int> refused{0};
  std::atomic<int> served{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 20; ++i) {
    threads.emplace_back([&, i] {
      PrepareRequest request = Request();
      request.region += std::to_string(i);
      const Status status = client_->Prepare(request);
      if (status.ok()) ++served;
      if (status.code() == ErrorCode::kResourceExhausted) ++refused;
    });
  }
  const Deadline deadline = Deadline::After(seconds(8));
  while (refused < 12 && !deadline.Passed()) std::this_thread::yield();
  EXPECT_TRUE(SponsorClient::Create({.endpoint = Endpoint()}).value()->Describe().ok());
  migrations_.Unblock();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(served, 8);
  EXPECT_EQ(refused, 12);
}

TEST_F(MigrationRpc, APeerThatIsGoneIsUnavailable) {
  const std::string endpoint = Endpoint();
  server_.reset();
  const Status gone = client_->Open("vm", Request().image.key);
  EXPECT_EQ(gone.code(), ErrorCode::kUnavailable) << gone.ToString();
  EXPECT_TRUE(gone.retryable());
  EXPECT_NE(gone.message().find("destination " + endpoint), std::string::npos) << gone.message();
  EXPECT_EQ(MigrationClient::Create({.endpoint = "m1"}).status().code(), ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace heca::control
