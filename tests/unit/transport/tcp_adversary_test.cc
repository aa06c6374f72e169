// SPDX-License-Identifier: LGPL-2.1-or-later
// Peers that do not play by the rules, against TcpServer and TcpChannel: cut off, no growth, others unharmed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>
#include <fstream>
#include <random>
#include <thread>

#include "channel_harness.h"
#include "transport/socket.h"
#include "transport/tcp_dialer.h"
#include "transport/tcp_server.h"
#include "wire/hello.h"
#include "wire/message.h"

namespace heca::transport {
namespace {

using test_support::FakeAdmission;
using test_support::FakeSlotMemory;
using ::testing::HasSubstr;

constexpr LeaseId kLease{7};
constexpr Epoch kEpoch{3};
constexpr Millis kSoon{5000};

std::size_t ResidentKiB() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    if (word == "VmRSS:") {
      std::size_t kib = 0;
      status >> kib;
      return kib;
    }
  }
  return 0;
}

/// A socket in the hands of somebody who does what he wants.
class Stranger {
 public:
  explicit Stranger(const Endpoint& endpoint) {
    auto connected = ConnectTcp(endpoint, Deadline::After(kSoon));
    EXPECT_TRUE(connected.ok()) << connected.status().ToString();
    if (connected.ok()) fd_ = std::move(*connected);
  }
  explicit Stranger(unique_fd fd) : fd_(std::move(fd)) {}

  Status Send(std::span<const std::byte> bytes) { return SendAll(fd_.get(), bytes, Deadline::After(kSoon)); }
  Status Receive(std::span<std::byte> bytes) { return ReceiveAll(fd_.get(), bytes, Deadline::After(kSoon)); }
  /// The other side hangs up within a few seconds; what it says before is ignored.
  void ExpectHungUp() {
    std::array<std::byte, 65536> ignored;
    Status status;
    while (status.ok()) status = ReceiveAll(fd_.get(), std::span(ignored).first(1), Deadline::After(kSoon));
    EXPECT_EQ(status.code(), ErrorCode::kUnavailable) << status.ToString();
  }
  int fd() const { return fd_.get(); }
  void HangUp() { fd_.reset(); }

 private:
  unique_fd fd_;
};

std::vector<std::byte> RandomBytes(std::mt19937& random, std::size_t size) {
  std::vector<std::byte> bytes(size);
  for (auto& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

class TcpAdversary : public ::testing::Test {
 protected:
  void Start(TcpServerOptions options = {}) {
    options.listen = {"127.0.0.1", 0};
    auto server = TcpServer::Create(options, admission_);
    ASSERT_TRUE(server.ok()) << server.status().ToString();
    server_ = std::move(*server);
    good_ = Dial(Role::kBulk);
    ASSERT_TRUE(good_);
    const std::vector<Slot> slot = {Slot(1)};
    const auto page = Pattern(slot, kBasePage);
    Recorder done;
    ASSERT_TRUE(good_->Write(OpTag(1), slot, page, Attempt::kFirst).ok());
    ASSERT_TRUE(Drive(*good_, done, [&] { return done.Has(1); }).ok());
  }
  void TearDown() override {
    if (good_) ExpectUnharmed();
  }
  Hello Expect(Role role) { return admission_.Expect(kLease, kEpoch, role, memory_); }
  std::unique_ptr<Channel> Dial(Role role) {
    auto dialled = TcpDialer().Dial(server_->endpoint(), Expect(role), Deadline::After(kSoon));
    EXPECT_TRUE(dialled.ok()) << dialled.status().ToString();
    return dialled.ok() ? std::move(*dialled) : nullptr;
  }
  /// The connection that was there first still reads.
  void ExpectUnharmed() {
    const std::vector<Slot> slot = {Slot(1)};
    Recorder done;
    ASSERT_TRUE(good_->Read(OpTag(1), slot).ok());
    ASSERT_TRUE(Drive(*good_, done, [&] { return done.Has(1); }).ok());
    EXPECT_TRUE(done.Get(1).pages == Pattern(slot, kBasePage));
  }
  /// A stranger that has been admitted.
  Stranger Admitted(Role role) {
    Stranger stranger(server_->endpoint());
    const Hello hello = Expect(role);
    std::array<std::byte, wire::kHelloSize> bytes{};
    wire::Encode(wire::Hello{hello.token, hello.lease, hello.epoch, hello.role}, bytes);
    EXPECT_TRUE(stranger.Send(bytes).ok());
    std::array<std::byte, wire::kHelloReplySize> reply{};
    EXPECT_TRUE(stranger.Receive(reply).ok());
    const auto decoded = wire::DecodeHelloReply(reply);
    EXPECT_TRUE(decoded.ok() && decoded->code == ErrorCode::kOk);
    return stranger;
  }
  static std::vector<std::byte> Request(wire::RequestKind kind, std::uint32_t first, std::uint32_t count) {
    std::vector<Slot> slots;
    for (std::uint32_t i = 0; i < count; ++i) slots.emplace_back(first + i);
    std::array<std::byte, wire::kMaxRequestSize> bytes;
    const std::size_t size = wire::EncodeRequest(kind, wire::RequestId(1), slots, bytes);
    return {bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size)};
  }

  FakeAdmission admission_;
  std::shared_ptr<FakeSlotMemory> memory_ = std::make_shared<FakeSlotMemory>(kBasePage, 256, kEpoch);
  std::unique_ptr<TcpServer> server_;
  std::unique_ptr<Channel> good_;
};

TEST_F(TcpAdversary, RandomBytesInsteadOfAHello) {
  Start();
  std::mt19937 random(1);
  for (int i = 0; i < 100; ++i) {
    Stranger stranger(server_->endpoint());
    static_cast<void>(stranger.Send(RandomBytes(random, wire::kHelloSize + random() % 4096)));  // may be cut off midway
    stranger.ExpectHungUp();
  }
}

TEST_F(TcpAdversary, OtherVersionsGetAnAnswerThatNamesOurs) {
  Start();
  Stranger stranger(server_->endpoint());
  std::array<std::byte, wire::kHelloSize> hello{};
  wire::Encode(wire::Hello{{}, kLease, kEpoch, Role::kBulk}, hello);
  hello[4] = hello[6] = std::byte{9};
  ASSERT_TRUE(stranger.Send(hello).ok());
  std::array<std::byte, wire::kHelloReplySize> bytes{};
  ASSERT_TRUE(stranger.Receive(bytes).ok());
  const auto reply = wire::DecodeHelloReply(bytes);
  ASSERT_TRUE(reply.ok()) << reply.status().ToString();
  EXPECT_EQ(reply->code, ErrorCode::kUnsupported);
  EXPECT_THAT(reply->text, HasSubstr("versions 9 to 9, this hecad 1 to 1"));
  stranger.ExpectHungUp();
}

TEST_F(TcpAdversary, SilenceAndHalfAHelloAreCutOffInTime) {
  TcpServerOptions options;
  options.hello_timeout = Millis(150);
  Start(options);
  Stranger silent(server_->endpoint());
  Stranger half(server_->endpoint());
  std::array<std::byte, wire::kHelloSize> hello{};
  wire::Encode(wire::Hello{{}, kLease, kEpoch, Role::kBulk}, hello);
  ASSERT_TRUE(half.Send(std::span(hello).first(40)).ok());
  silent.ExpectHungUp();
  half.ExpectHungUp();
  // They are hung up on first, and forgotten then.
  const Deadline soon = Deadline::After(kSoon);
  while (server_->Strangers() != 0 && !soon.Passed()) std::this_thread::yield();
  EXPECT_EQ(server_->Strangers(), 0U);
}

TEST_F(TcpAdversary, StrangersAreBoundedAndDoNotLockOthersOut) {
  TcpServerOptions options;
  options.max_strangers = 4;
  Start(options);
  std::vector<Stranger> crowd;
  for (int i = 0; i < 40; ++i) crowd.emplace_back(server_->endpoint());
  EXPECT_TRUE(Dial(Role::kUrgent));
  EXPECT_LE(server_->Strangers(), 4U);
  crowd.front().ExpectHungUp();
}

TEST_F(TcpAdversary, ConnectionsAreBounded) {
  TcpServerOptions options;
  options.max_connections = 2;
  Start(options);
  const auto second = Dial(Role::kUrgent);
  const auto third = TcpDialer().Dial(server_->endpoint(), Expect(Role::kBulk), Deadline::After(kSoon));
  EXPECT_EQ(third.status().code(), ErrorCode::kResourceExhausted) << third.status().ToString();
}

TEST_F(TcpAdversary, BrokenRequestsAreCutOff) {
  Start();
  const auto expect_cut_off = [&](Role role, std::vector<std::byte> bytes) {
    Stranger stranger = Admitted(role);
    static_cast<void>(stranger.Send(bytes));
    stranger.ExpectHungUp();
  };
  const auto broken = [](std::size_t at, std::uint8_t value) {
    auto bytes = Request(wire::RequestKind::kRead, 1, 1);
    bytes[at] = std::byte{value};
    return bytes;
  };
  expect_cut_off(Role::kUrgent, broken(0, 0));     // no kind
  expect_cut_off(Role::kUrgent, broken(0, 200));   // unknown kind
  expect_cut_off(Role::kUrgent, broken(2, 0));     // no slots
  expect_cut_off(Role::kUrgent, broken(3, 0xFF));  // 65281 slots
  expect_cut_off(Role::kBulk, broken(8, 0));       // no id
  expect_cut_off(Role::kBulk, broken(16, 0));      // slot 0
  expect_cut_off(Role::kBulk, broken(20, 1));      // padding
  expect_cut_off(Role::kUrgent, Request(wire::RequestKind::kWrite, 2, 1));
  expect_cut_off(Role::kUrgent, Request(wire::RequestKind::kRelease, 1, 1));
}

TEST_F(TcpAdversary, BatchBeyondThePageSizeIsCutOff) {
  Start();
  memory_ = std::make_shared<FakeSlotMemory>(kHugePage, 2, kEpoch);
  Stranger stranger = Admitted(Role::kBulk);
  ASSERT_TRUE(stranger.Send(Request(wire::RequestKind::kRead, 1, 2)).ok());
  stranger.ExpectHungUp();
}

TEST_F(TcpAdversary, RandomBytesAfterTheHello) {
  Start();
  std::mt19937 random(3);
  for (int i = 0; i < 60; ++i) {
    Stranger stranger = Admitted(i % 2 == 0 ? Role::kUrgent : Role::kBulk);
    auto bytes = RandomBytes(random, 16 + random() % 2000);
    bytes[0] = static_cast<std::byte>(random() % 6);  // most have a kind
    static_cast<void>(stranger.Send(bytes));
    ::shutdown(stranger.fd(), SHUT_WR);
    stranger.ExpectHungUp();
  }
  const Deadline deadline = Deadline::After(kSoon);
  while (server_->Connections().size() > 1) ASSERT_FALSE(deadline.Passed());
}

TEST_F(TcpAdversary, TruncatedWriteLeavesItsSlotsUnwritten) {
  Start();
  for (const std::size_t payload : {0UL, 1UL, 4096UL, 8191UL}) {
    Stranger stranger = Admitted(Role::kBulk);
    auto bytes = Request(wire::RequestKind::kWrite, 10, 2);
    bytes.resize(bytes.size() + payload, std::byte{0x77});
    ASSERT_TRUE(stranger.Send(bytes).ok());
    ::shutdown(stranger.fd(), SHUT_WR);
    stranger.ExpectHungUp();
    EXPECT_FALSE(memory_->IsWritten(Slot(10)));
    EXPECT_FALSE(memory_->IsWritten(Slot(11)));
  }
}

TEST_F(TcpAdversary, HalfRequestsOneByteAtATimeAreJustSlow) {
  Start();
  Stranger stranger = Admitted(Role::kBulk);
  for (const std::byte byte : Request(wire::RequestKind::kRead, 1, 1)) {
    ASSERT_TRUE(stranger.Send(std::span(&byte, 1)).ok());
    ExpectUnharmed();
  }
  std::array<std::byte, wire::kAnswerSize + 4096> answer{};
  ASSERT_TRUE(stranger.Receive(answer).ok());
  const std::vector<Slot> slot = {Slot(1)};
  EXPECT_TRUE(std::ranges::equal(std::span(answer).subspan(wire::kAnswerSize), Pattern(slot, kBasePage)));
}

TEST_F(TcpAdversary, PeerThatStopsReadingIsCutOffWithoutGrowth) {
  TcpServerOptions options;
  options.stall_timeout = Millis(400);
  Start(options);
  std::vector<Stranger> greedy;
  for (int i = 0; i < 4; ++i) greedy.push_back(Admitted(i % 2 == 0 ? Role::kUrgent : Role::kBulk));
  const std::size_t before = ResidentKiB();
  const std::vector<std::byte> request = Request(wire::RequestKind::kRead, 1, 1);
  // Ask until the sockets are full in both directions: far more answers than any buffer holds.
  std::size_t asked = 0;
  for (auto& stranger : greedy) {
    // Each one asks for up to 400 MB: a bound over all of them would leave nothing for the last where the server is slow.
    for (int own = 0; own < 100000; ++own) {
      if (::send(stranger.fd(), request.data(), request.size(), MSG_DONTWAIT | MSG_NOSIGNAL) <= 0) break;
      if (++asked % 1000 == 0) ExpectUnharmed();
    }
  }
  EXPECT_GT(asked * 4096, 64U << 20) << "the test did not ask for enough to show growth";
  const Deadline deadline = Deadline::After(kSoon);
  while (server_->Connections().size() > 1) {
    ExpectUnharmed();
    ASSERT_FALSE(deadline.Passed()) << "still served: " << server_->Connections().size();
  }
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  EXPECT_LT(ResidentKiB(), before + 4096) << "in KiB; was " << before;
#endif
}

/// A listener that answers a hello with whatever the test wants.
class EvilServer {
 public:
  EvilServer() {
    auto listener = ListenTcp({"127.0.0.1", 0}, 4);
    EXPECT_TRUE(listener.ok());
    listener_ = std::move(*listener);
  }
  /// Dials, while `evil` plays the server.
  template <class Evil>
  Result<std::unique_ptr<Channel>> Dial(Evil evil, Millis span = kSoon) {
    std::thread thread([&] {
      // Non-blocking: the client has connected once it waits for the answer.
      const Deadline deadline = Deadline::After(kSoon);
      unique_fd fd;
      while (!fd && !deadline.Passed()) fd.reset(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      peer_ = std::make_unique<Stranger>(std::move(fd));
      std::array<std::byte, wire::kHelloSize> hello;
      if (peer_->Receive(hello).ok()) evil(*peer_);
    });
    auto dialled = TcpDialer().Dial(LocalEndpoint(listener_.get()), {{}, kLease, kEpoch, Role::kBulk},
                                    Deadline::After(span));
    thread.join();
    return dialled;
  }
  Stranger& peer() { return *peer_; }

 private:
  unique_fd listener_;
  std::unique_ptr<Stranger> peer_;
};

std::array<std::byte, wire::kHelloReplySize> GoodReply() {
  std::array<std::byte, wire::kHelloReplySize> bytes{};
  wire::HelloReply reply;
  reply.page_size = 4096;
  reply.slot_count = 10;
  reply.max_batch = 64;
  reply.credits = 4;
  reply.window_bytes = 1 << 20;
  wire::Encode(reply, bytes);
  return bytes;
}

TEST(TcpEvilServer, GarbageInsteadOfAHelloReply) {
  EvilServer server;
  const auto dialled = server.Dial([](Stranger& peer) {
    std::mt19937 random(5);
    static_cast<void>(peer.Send(RandomBytes(random, 4096)));
  });
  EXPECT_EQ(dialled.status().code(), ErrorCode::kInvalidArgument) << dialled.status().ToString();
}

TEST(TcpEvilServer, HangsUpBeforeItsReply) {
  EvilServer server;
  const auto dialled = server.Dial([](Stranger& peer) {
    const auto reply = GoodReply();
    static_cast<void>(peer.Send(std::span(reply).first(100)));
    peer.HangUp();
  });
  EXPECT_EQ(dialled.status().code(), ErrorCode::kUnavailable) << dialled.status().ToString();
}

TEST(TcpEvilServer, SaysNothing) {
  EvilServer server;
  const auto dialled = server.Dial([](Stranger&) {}, Millis(200));
  EXPECT_EQ(dialled.status().code(), ErrorCode::kDeadlineExceeded) << dialled.status().ToString();
}

TEST(TcpEvilServer, AnswersThatWereNotAskedForEndTheChannel) {
  const wire::Answer answers[] = {
      {ErrorCode::kOk, 2, kNoSlot, wire::RequestId(1)},         // more pages than asked for
      {ErrorCode::kOk, 0, kNoSlot, wire::RequestId(1)},         // fewer
      {ErrorCode::kOk, 1, kNoSlot, wire::RequestId(2)},         // another request
      {ErrorCode::kDataLoss, 0, Slot(1), wire::RequestId(77)},  // a request that was never made
  };
  for (const auto& answer : answers) {
    EvilServer server;
    auto dialled = server.Dial([](Stranger& peer) { static_cast<void>(peer.Send(GoodReply())); });
    ASSERT_TRUE(dialled.ok()) << dialled.status().ToString();
    const std::vector<Slot> slot = {Slot(1)};
    ASSERT_TRUE((*dialled)->Read(OpTag(1), slot).ok());
    std::vector<std::byte> bytes(wire::kAnswerSize + 8192);
    wire::Encode(answer, std::span(bytes).first<wire::kAnswerSize>());
    ASSERT_TRUE(server.peer().Send(bytes).ok());
    Recorder done;
    const Status failed = Drive(**dialled, done, [] { return false; }, kSoon);
    EXPECT_EQ(failed.code(), ErrorCode::kInternal) << failed.ToString();
    EXPECT_EQ(done.size(), 0U);
  }
}

TEST(TcpEvilServer, AnswerWithoutAnyRequestEndsTheChannel) {
  EvilServer server;
  auto dialled = server.Dial([](Stranger& peer) { static_cast<void>(peer.Send(GoodReply())); });
  ASSERT_TRUE(dialled.ok()) << dialled.status().ToString();
  std::array<std::byte, wire::kAnswerSize> bytes{};
  wire::Encode({ErrorCode::kDataLoss, 0, Slot(1), wire::RequestId(1)}, bytes);
  ASSERT_TRUE(server.peer().Send(bytes).ok());
  Recorder done;
  EXPECT_EQ(Drive(**dialled, done, [] { return false; }, kSoon).code(), ErrorCode::kInternal);
  EXPECT_EQ(done.size(), 0U);
}

}  // namespace
}  // namespace heca::transport
