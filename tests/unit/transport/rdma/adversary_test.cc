// SPDX-License-Identifier: LGPL-2.1-or-later
// Peers that do not play by the rules, against RdmaServer: refused by the device or by us, logged, others unharmed. A lease of
// somebody else is read all the time meanwhile.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <spdlog/sinks/base_sink.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <fstream>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "base/log.h"
#include "transport/rdma/introduction.h"
#include "transport/rdma/rdma_server.h"
#include "unit/transport/channel_harness.h"

namespace heca::transport::rdma {
namespace {

using test_support::FakeSlotMemory;
using ::testing::HasSubstr;

constexpr LeaseId kTheirs{7};
constexpr LeaseId kOurs{8};
constexpr Epoch kEpoch{3};
constexpr std::uint32_t kSlots = 64;
constexpr std::size_t kPage = 4096;
constexpr Millis kSoon{5000};

/// What the server says.
class Heard final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  /// Whether a line with that part was said; it is forgotten then.
  bool Take(const std::string& part) {
    const std::lock_guard lock(mutex_);
    const auto found = std::ranges::find_if(lines_, [&](const std::string& line) { return line.find(part) != line.npos; });
    if (found == lines_.end()) return false;
    lines_.erase(found);
    return true;
  }

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    lines_.emplace_back(message.payload.data(), message.payload.size());
  }
  void flush_() override {}
  std::vector<std::string> lines_;
};

/// So many bytes of addresses are left to this process.
class LessRoom {
 public:
  explicit LessRoom(std::size_t left) {
    std::size_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    EXPECT_EQ(::getrlimit(RLIMIT_AS, &before_), 0);
    const rlimit less{pages * static_cast<std::size_t>(::getpagesize()) + left, before_.rlim_max};
    EXPECT_EQ(::setrlimit(RLIMIT_AS, &less), 0);
  }
  ~LessRoom() { ::setrlimit(RLIMIT_AS, &before_); }

 private:
  rlimit before_{};
};

std::vector<Slot> AllSlots() {
  std::vector<Slot> slots;
  for (std::uint32_t i = 1; i <= kSlots; ++i) slots.emplace_back(i);
  return slots;
}

/// Owns a lease, and reads all of it on a thread of its own, again and again.
class Neighbour {
 public:
  explicit Neighbour(std::unique_ptr<Channel> channel) : channel_(std::move(channel)) {
    const auto pages = Pattern(AllSlots(), kBasePage);
    Recorder done;
    EXPECT_TRUE(channel_->Write(OpTag(1), AllSlots(), pages, Attempt::kFirst).ok());
    EXPECT_TRUE(Drive(*channel_, done, [&] { return done.Has(1); }).ok());
    thread_ = std::thread([this] { Run(); });
  }
  ~Neighbour() {
    stop_ = true;
    thread_.join();
  }
  /// Twice more it has read what it wrote, and never anything else.
  void ExpectUnharmed() {
    const std::uint64_t before = rounds_;
    const Deadline deadline = Deadline::After(kSoon);
    while (rounds_ < before + 2 && !harmed_) {
      ASSERT_FALSE(deadline.Passed()) << "it reads no more";
      std::this_thread::sleep_for(Millis(1));
    }
    EXPECT_FALSE(harmed_);
  }

 private:
  void Run() {
    const auto pages = Pattern(AllSlots(), kBasePage);
    while (!stop_ && !harmed_) {
      Recorder done;
      const bool read = channel_->Read(OpTag(1), AllSlots()).ok() &&
                        Drive(*channel_, done, [&] { return done.Has(1); }).ok() && done.Get(1).status.ok();
      if (!read || done.Get(1).pages != pages) harmed_ = true;
      ++rounds_;
    }
  }
  const std::unique_ptr<Channel> channel_;
  std::atomic<bool> stop_{false};
  std::atomic<bool> harmed_{false};
  std::atomic<std::uint64_t> rounds_{0};
  std::thread thread_;
};

/// A client that was admitted, in the hands of somebody who does what he wants.
class Intruder {
 public:
  static constexpr std::uint64_t kDone = 77;

  explicit Intruder(Introduced introduced) : introduced_(std::move(introduced)) {
    auto made = Registered::Make(link().domain(), wire::kMaxDirectorySize, Reach::kLocal);
    EXPECT_TRUE(made.ok()) << made.status().ToString();
    landing_ = std::move(*made);
  }
  Link& link() { return *introduced_.link; }
  /// Over iWARP the connection just ends.
  bool tells_why() { return link().id().verbs->device->transport_type == IBV_TRANSPORT_IB; }
  [[nodiscard]] const wire::RdmaReply& reply() const { return introduced_.reply; }
  std::span<std::byte> landing() { return landing_.bytes(); }

  Status Read(const wire::RemoteMemory& from, std::size_t size) {
    link().Read(landing_.Part(0, size), from, kDone);
    return link().Post();
  }
  /// Done when a read behind it is: a write may count as sent before the peer has looked at it (iWARP).
  Status Write(const wire::RemoteMemory& to, std::size_t size) {
    link().Write(landing_.Part(0, size), to, Link::kUnsignalled);
    link().Read(landing_.Part(kPage, 16), introduced_.reply.directory, kDone);
    return link().Post();
  }
  Status Send(std::span<const std::byte> bytes) {
    std::ranges::copy(bytes, landing().begin());
    link().Send(landing_.Part(0, bytes.size()), Link::kUnsignalled);
    return link().Post();
  }
  /// How the connection ends; ok: what was asked for is done instead, kDeadlineExceeded: neither.
  Status Await() {
    const Deadline deadline = Deadline::After(kSoon);
    while (!deadline.Passed()) {
      HECA_ASSIGN_OR_RETURN(const auto completions, link().Poll());
      if (std::ranges::any_of(completions, [](const ibv_wc& one) { return one.wr_id == kDone; })) return {};
      if (!completions.empty()) continue;
      HECA_ASSIGN_OR_RETURN(const bool again, link().Rest());
      pollfd entry{link().fd(), POLLIN, 0};
      if (!again) ::poll(&entry, 1, 50);
    }
    return {ErrorCode::kDeadlineExceeded, "the connection goes on"};
  }
  /// Of its own lease, once there is one.
  wire::DirectoryEntry Directory() {
    const auto entries = std::span<const std::byte>(landing()).first<wire::kDirectoryHeaderSize>();
    const Deadline registered = Deadline::After(kSoon);
    do {
      EXPECT_TRUE(Read(reply().directory, wire::kDirectoryHeaderSize + wire::kDirectoryEntrySize).ok());
      EXPECT_TRUE(Await().ok());
    } while (Count(entries) == 0 && !registered.Passed());
    const auto entry = wire::DecodeDirectoryEntry(
        std::span<const std::byte>(landing()).subspan(wire::kDirectoryHeaderSize).first<wire::kDirectoryEntrySize>());
    EXPECT_TRUE(entry.ok()) << entry.status().ToString();
    return entry.ok() ? *entry : wire::DirectoryEntry{};
  }

 private:
  static std::uint32_t Count(std::span<const std::byte, wire::kDirectoryHeaderSize> header) {
    const auto count = wire::DecodeDirectoryCount(header);
    return count.ok() ? *count : 0;
  }

  Introduced introduced_;
  Registered landing_;
};

wire::RemoteMemory At(const wire::RemoteMemory& memory, std::int64_t offset) {
  return {memory.address + static_cast<std::uint64_t>(offset), memory.key};
}

class RdmaAdversary : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    Log().sinks().push_back(heard_);  // nobody logs yet
    auto made = MakeRdmaHarness();
    ASSERT_TRUE(made.ok()) << made.status().ToString();
    harness_ = std::move(*made);
    theirs_->LetBeReached(kSlots);
    ours_->LetBeReached(kSlots);
    auto dialled = Dial(Expect(kTheirs, Role::kBulk, theirs_));
    ASSERT_TRUE(dialled.ok()) << dialled.status().ToString();
    neighbour_ = std::make_unique<Neighbour>(std::move(*dialled));
  }
  void TearDown() override {
    if (neighbour_) ExpectUnharmed();
    neighbour_.reset();
    harness_.reset();
    Log().sinks().pop_back();
  }
  Hello Expect(LeaseId lease, Role role, std::shared_ptr<FakeSlotMemory> memory) {
    return harness_->admission().Expect(lease, kEpoch, role, std::move(memory));
  }
  Result<std::unique_ptr<Channel>> Dial(const Hello& hello) {
    return harness_->dialer().Dial(harness_->server().endpoint(), hello, Deadline::After(kSoon));
  }
  std::unique_ptr<Intruder> Intrude(LeaseId lease, Role role, std::shared_ptr<FakeSlotMemory> memory) {
    auto introduced = Introduce(harness_->server().endpoint(), Expect(lease, role, std::move(memory)), Deadline::After(kSoon));
    EXPECT_TRUE(introduced.ok()) << introduced.status().ToString();
    return introduced.ok() ? std::make_unique<Intruder>(std::move(*introduced)) : nullptr;
  }
  std::unique_ptr<Intruder> Intrude() { return Intrude(kOurs, Role::kBulk, ours_); }
  /// Their slabs, with the keys, as if they had been found out.
  wire::DirectoryEntry TheirDirectory() {
    const auto spy = Intrude(kTheirs, Role::kUrgent, theirs_);
    return spy ? spy->Directory() : wire::DirectoryEntry{};
  }
  void ExpectSaid(const std::string& part) {
    const Deadline deadline = Deadline::After(kSoon);
    while (!heard_->Take(part)) {
      ASSERT_FALSE(deadline.Passed()) << "the server did not say: " << part;
      std::this_thread::sleep_for(Millis(1));
    }
  }
  void ExpectServed(std::size_t count) {
    const Deadline deadline = Deadline::After(kSoon);
    while (harness_->server().Connections().size() != count) {
      ASSERT_FALSE(deadline.Passed()) << "served: " << harness_->server().Connections().size();
      std::this_thread::sleep_for(Millis(1));
    }
  }
  /// Its memory is as it was written, by a look from beside the device, and it goes on reading.
  void ExpectUnharmed() {
    ExpectHolds(*theirs_, AllSlots());
    neighbour_->ExpectUnharmed();
  }
  static void ExpectHolds(FakeSlotMemory& memory, const std::vector<Slot>& slots) {
    for (const Slot slot : slots) {
      const auto page = memory.ForRead(slot);
      ASSERT_TRUE(page.ok()) << "slot " << slot.value() << ": " << page.status().ToString();
      const std::array<Slot, 1> one{slot};
      ASSERT_TRUE(std::ranges::equal(*page, Pattern(one, kBasePage))) << "slot " << slot.value();
    }
  }
  using Attack = std::function<Status(Intruder&, const wire::DirectoryEntry& ours)>;
  /// On a connection that worked until then. The device refuses it, the connection is over at both ends, nothing was read and
  /// nothing changed.
  void ExpectRefused(const std::string& what, const Attack& attack) {
    SCOPED_TRACE(what);
    const auto intruder = Intrude();
    ASSERT_TRUE(intruder);
    const auto ours = intruder->Directory();
    ExpectServed(2);
    std::ranges::fill(intruder->landing(), std::byte{0xEE});
    ASSERT_TRUE(attack(*intruder, ours).ok());
    const Status ended = intruder->Await();
    EXPECT_EQ(ended.code(), ErrorCode::kUnavailable) << ended.ToString();
    if (intruder->tells_why()) {
      EXPECT_THAT(ended.message(), HasSubstr("remote access error"));
    }
    EXPECT_TRUE(std::ranges::all_of(intruder->landing(), [](std::byte byte) { return byte == std::byte{0xEE}; }))
        << "something was read";
    ExpectServed(1);
    ExpectSaid("(lease 8) ended: ");
    ExpectUnharmed();
  }

  const std::shared_ptr<Heard> heard_ = std::make_shared<Heard>();
  const std::shared_ptr<FakeSlotMemory> theirs_ = std::make_shared<FakeSlotMemory>(kBasePage, kSlots, kEpoch);
  const std::shared_ptr<FakeSlotMemory> ours_ = std::make_shared<FakeSlotMemory>(kBasePage, kSlots, kEpoch);
  std::unique_ptr<ChannelHarness> harness_;
  std::unique_ptr<Neighbour> neighbour_;
};

TEST_P(RdmaAdversary, AWrongTokenIsRefusedAndLogged) {
  Hello hello = Expect(kOurs, Role::kBulk, ours_);
  hello.token.back() ^= std::byte{1};
  const auto dialled = Dial(hello);
  EXPECT_EQ(dialled.status().code(), ErrorCode::kPermissionDenied) << dialled.status().ToString();
  EXPECT_THAT(dialled.status().message(), HasSubstr("unknown token"));
  ExpectSaid("refused over RDMA: ");
  ExpectServed(1);
}

TEST_P(RdmaAdversary, ATokenIsGoodForOneConnection) {
  const Hello hello = Expect(kOurs, Role::kBulk, ours_);
  const auto first = Dial(hello);
  ASSERT_TRUE(first.ok()) << first.status().ToString();
  const auto second = Dial(hello);
  EXPECT_EQ(second.status().code(), ErrorCode::kPermissionDenied) << second.status().ToString();
  ExpectSaid("refused over RDMA: ");
  ExpectServed(2);
  Recorder done;
  ASSERT_TRUE((*first)->Write(OpTag(1), AllSlots(), Pattern(AllSlots(), kBasePage), Attempt::kFirst).ok());
  EXPECT_TRUE(Drive(**first, done, [&] { return done.Has(1); }).ok()) << "the first one does not suffer from it";
}

TEST_P(RdmaAdversary, ATokenIsGoodForItsLeaseAndRoleOnly) {
  Hello lease = Expect(kOurs, Role::kBulk, ours_);
  lease.lease = kTheirs;
  Hello role = Expect(kOurs, Role::kUrgent, ours_);
  role.role = Role::kBulk;
  for (const Hello& hello : {lease, role}) {
    const auto dialled = Dial(hello);
    EXPECT_EQ(dialled.status().code(), ErrorCode::kPermissionDenied) << dialled.status().ToString();
  }
  ExpectServed(1);
}

TEST_P(RdmaAdversary, WhoFindsNoRoomIsToldWhy) {
  RdmaServerOptions large;
  large.listen = {harness_->server().endpoint().host, 0};
  large.window_bytes = wire::kMaxWindowBytes;
  const auto server = RdmaServer::Create(large, harness_->admission());
  ASSERT_TRUE(server.ok()) << server.status().ToString();
  const Hello hello = Expect(kOurs, Role::kBulk, ours_);
  const LessRoom room(wire::kMaxWindowBytes / 2);
  const auto dialled = Introduce((*server)->endpoint(), hello, Deadline::After(kSoon));
  EXPECT_EQ(dialled.status().code(), ErrorCode::kResourceExhausted) << dialled.status().ToString();
  EXPECT_THAT(dialled.status().message(), HasSubstr("bytes for RDMA"));
  ExpectSaid("refused over RDMA: ");
  EXPECT_TRUE((*server)->Connections().empty());
}

TEST_P(RdmaAdversary, KeysOfAnotherLeaseAreWorthNothing) {
  const auto theirs = TheirDirectory();
  ASSERT_NE(theirs.pages.key, 0U);
  ExpectServed(1);
  ExpectRefused("a read of a page", [&](Intruder& intruder, const auto&) { return intruder.Read(theirs.pages, kPage); });
  ExpectRefused("a write of a page", [&](Intruder& intruder, const auto&) { return intruder.Write(theirs.pages, kPage); });
  ExpectRefused("a read of a mark", [&](Intruder& intruder, const auto&) { return intruder.Read(theirs.marks, 1); });
  ExpectRefused("a write of a mark", [&](Intruder& intruder, const auto&) { return intruder.Write(theirs.marks, 1); });
}

TEST_P(RdmaAdversary, OwnKeysAreWorthNothingBeyondTheirSlab) {
  const auto theirs = TheirDirectory();
  constexpr std::int64_t kEnd = kSlots * kPage;
  ExpectRefused("a read behind the end", [](Intruder& intruder, const auto& ours) {
    return intruder.Read(At(ours.pages, kEnd), kPage);
  });
  ExpectRefused("a read across the end", [](Intruder& intruder, const auto& ours) {
    return intruder.Read(At(ours.pages, kEnd - 1), 2);
  });
  ExpectRefused("a read before the base", [](Intruder& intruder, const auto& ours) {
    return intruder.Read(At(ours.pages, -1), kPage);
  });
  ExpectRefused("a write across the end", [](Intruder& intruder, const auto& ours) {
    return intruder.Write(At(ours.pages, kEnd - 8), 16);
  });
  ExpectRefused("a write before the base", [](Intruder& intruder, const auto& ours) {
    return intruder.Write(At(ours.pages, -8), 16);
  });
  ExpectRefused("their address under a key of ours", [&](Intruder& intruder, const auto& ours) {
    return intruder.Write({theirs.pages.address, ours.pages.key}, kPage);
  });
  ExpectRefused("a key that is none", [](Intruder& intruder, const auto& ours) {
    return intruder.Read({ours.pages.address, ours.pages.key ^ 0x5A}, kPage);
  });
}

TEST_P(RdmaAdversary, AMarkThatNoneIsIsNotBelieved) {
  const auto dialled = Dial(Expect(kOurs, Role::kBulk, ours_));
  ASSERT_TRUE(dialled.ok()) << dialled.status().ToString();
  ours_->Spoil(Slot(2));
  Recorder done;
  const std::array<Slot, 1> slots{Slot(2)};
  ASSERT_TRUE((*dialled)->Read(OpTag(1), slots).ok());
  const Status ended = Drive(**dialled, done, [&] { return done.Has(1); });
  EXPECT_EQ(ended.code(), ErrorCode::kInternal) << ended.ToString();
  EXPECT_FALSE(done.Has(1));
}

TEST_P(RdmaAdversary, ARepeatedWriteBelievesNoMark) {
  const auto dialled = Dial(Expect(kOurs, Role::kBulk, ours_));
  ASSERT_TRUE(dialled.ok()) << dialled.status().ToString();
  ours_->CommitWrite(Slot(2));  // says written, and holds what it held
  Recorder done;
  const std::vector<Slot> slots{Slot(1), Slot(2)};
  const auto pages = Pattern(slots, kBasePage);
  ASSERT_TRUE((*dialled)->Write(OpTag(1), slots, pages, Attempt::kRepeated).ok());
  ASSERT_TRUE(Drive(**dialled, done, [&] { return done.Has(1); }).ok());
  EXPECT_TRUE(done.Get(1).status.ok()) << done.Get(1).status.ToString();
  ExpectHolds(*ours_, slots);
}

TEST_P(RdmaAdversary, TheDirectoryIsNotWritten) {
  ExpectRefused("a write of the number of entries", [](Intruder& intruder, const auto&) {
    return intruder.Write(intruder.reply().directory, 16);
  });
  const auto intruder = Intrude();
  ASSERT_TRUE(intruder);
  EXPECT_EQ(intruder->Directory().slots, kSlots);
}

TEST_P(RdmaAdversary, BrokenRequestsAreCutOff) {
  const auto expect_cut_off = [&](const std::string& what, std::span<const std::byte> bytes) {
    SCOPED_TRACE(what);
    const auto intruder = Intrude();
    ASSERT_TRUE(intruder);
    ASSERT_TRUE(intruder->Send(bytes).ok());
    const Status ended = intruder->Await();
    EXPECT_EQ(ended.code(), ErrorCode::kUnavailable) << ended.ToString();
    ExpectServed(1);
    ExpectSaid("(lease 8) cut off: ");
    ExpectUnharmed();
  };
  std::array<std::byte, wire::kMaxRdmaRequestSize> bytes{};
  const std::vector<Slot> one{Slot(1)};
  const std::size_t size = wire::kLandingSize + wire::EncodeRequest(wire::RequestKind::kRead, wire::RequestId(1), one,
                                                                    std::span(bytes).subspan<wire::kLandingSize>());
  expect_cut_off("half a landing", std::span(bytes).first(8));
  expect_cut_off("half a request", std::span(bytes).first(size - 4));
  auto broken = bytes;
  broken[wire::kLandingSize] = std::byte{200};
  expect_cut_off("an unknown kind", std::span(broken).first(size));
  broken = bytes;
  broken[wire::kLandingSize + 3] = std::byte{0xFF};
  expect_cut_off("more slots than are there", std::span(broken).first(size));
}

std::vector<std::string> Devices() { return HasRdma() ? std::vector<std::string>{"Rdma"} : std::vector<std::string>{}; }

INSTANTIATE_TEST_SUITE_P(Device, RdmaAdversary, ::testing::ValuesIn(Devices()), [](const auto& one) { return one.param; });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(RdmaAdversary);  // where there is no device

}  // namespace
}  // namespace heca::transport::rdma
