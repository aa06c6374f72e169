// SPDX-License-Identifier: LGPL-2.1-or-later
// What every transport promises (transport/channel.h), run on every transport.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <random>
#include <thread>

#include "channel_harness.h"

namespace heca::transport {
namespace {

using test_support::FakeSlotMemory;

constexpr LeaseId kLease{7};
constexpr Epoch kEpoch{3};
/// A dead peer is noticed within about three seconds; the rest is for a loaded machine.
constexpr Millis kNoticed{4500};

struct Transport {
  const char* name;
  Result<std::unique_ptr<ChannelHarness>> (*make)();
  bool alone = false;  ///< the client reads and writes by itself: the server is not asked, and sees nothing of it
};
std::vector<Transport> Transports() {
  std::vector<Transport> all{{"Tcp", MakeTcpHarness}, {"Loopback", MakeLoopbackHarness}};
  if (HasRdma()) {
    all.push_back({"Rdma", MakeRdmaHarness});
    all.push_back({"RdmaAlone", MakeRdmaHarness, true});
  }
  return all;
}

std::vector<Slot> Slots(std::uint32_t first, std::uint32_t count) {
  std::vector<Slot> slots;
  for (std::uint32_t i = 0; i < count; ++i) slots.emplace_back(first + i);
  return slots;
}

class ChannelConformance : public ::testing::TestWithParam<Transport> {
 protected:
  void SetUp() override {
    auto made = GetParam().make();
    if (made.status().code() == ErrorCode::kPermissionDenied) {
      GTEST_SKIP() << "needs root for a network namespace: " << made.status().ToString();
    }
    ASSERT_TRUE(made.ok()) << made.status().ToString();
    harness_ = std::move(*made);
    UseMemory(kBasePage, 1024, 1024);
  }

  /// In pieces of at most `piece` slots.
  void UseMemory(Bytes page_size, std::uint32_t slots, std::uint32_t piece) {
    memory_ = std::make_shared<FakeSlotMemory>(page_size, slots, kEpoch);
    if (GetParam().alone) memory_->LetBeReached(piece);
  }
  Result<std::unique_ptr<Channel>> TryDial(const Hello& hello) {
    return harness_->dialer().Dial(harness_->server().endpoint(), hello, Deadline::After(Millis(5000)));
  }
  Hello Expect(Role role) { return harness_->admission().Expect(kLease, kEpoch, role, memory_); }
  std::unique_ptr<Channel> Dial(Role role) {
    auto dialled = TryDial(Expect(role));
    EXPECT_TRUE(dialled.ok()) << dialled.status().ToString();
    return dialled.ok() ? std::move(*dialled) : nullptr;
  }

  Status WriteNow(Channel& channel, std::span<const Slot> slots, Attempt attempt = Attempt::kFirst) {
    const auto pages = Pattern(slots, channel.PageSize());
    return WriteNow(channel, slots, pages, attempt);
  }
  Status WriteNow(Channel& channel, std::span<const Slot> slots, std::span<const std::byte> pages, Attempt attempt) {
    Recorder done;
    HECA_RETURN_IF_ERROR(channel.Write(OpTag(1), slots, pages, attempt));
    HECA_RETURN_IF_ERROR(Drive(channel, done, [&] { return done.Has(1); }));
    return done.Get(1).status;
  }
  Status ReleaseNow(Channel& channel, std::span<const Slot> slots) {
    Recorder done;
    HECA_RETURN_IF_ERROR(channel.Release(OpTag(1), slots));
    HECA_RETURN_IF_ERROR(Drive(channel, done, [&] { return done.Has(1); }));
    return done.Get(1).status;
  }
  /// As if by a connection that nobody here knows.
  void WriteAsAnother(std::span<const Slot> slots) {
    const std::size_t size = memory_->PageSize().value();
    const auto pages = Pattern(slots, memory_->PageSize());
    for (std::size_t i = 0; i < slots.size(); ++i) {
      const auto landing = memory_->BeginWrite(slots[i], Attempt::kFirst);
      ASSERT_TRUE(landing.ok()) << landing.status().ToString();
      std::copy_n(pages.begin() + static_cast<std::ptrdiff_t>(i * size), size, landing->begin());
      memory_->CommitWrite(slots[i]);
    }
  }
  Result<std::vector<std::byte>> ReadNow(Channel& channel, std::span<const Slot> slots) {
    Recorder done;
    HECA_RETURN_IF_ERROR(channel.Read(OpTag(1), slots));
    HECA_RETURN_IF_ERROR(Drive(channel, done, [&] { return done.Has(1); }));
    if (!done.Get(1).status.ok()) {
      EXPECT_TRUE(done.Get(1).pages.empty());
      return done.Get(1).status;
    }
    return done.Get(1).pages;
  }
  void ExpectHolds(Channel& channel, std::span<const Slot> slots) {
    const auto pages = ReadNow(channel, slots);
    ASSERT_TRUE(pages.ok()) << pages.status().ToString();
    EXPECT_TRUE(*pages == Pattern(slots, channel.PageSize()));
  }
  /// Soon, that is: what is registered at the server is found without a new connection.
  void ExpectNoServerIsAskedBy(const std::function<void()>& operations) {
    const auto served = [&] {
      std::uint64_t bytes = 0;
      for (const auto& connection : harness_->server().Connections()) bytes += connection.bytes_in + connection.bytes_out;
      return bytes;
    };
    const Deadline deadline = Deadline::After(Millis(10000));
    for (auto before = served();; before = served()) {
      operations();
      if (served() == before) break;
      ASSERT_FALSE(deadline.Passed()) << "the server is still asked";
      std::this_thread::sleep_for(Millis(20));
    }
  }
  void WaitForServedConnections(std::size_t count) {
    const Deadline deadline = Deadline::After(Millis(5000));
    while (harness_->server().Connections().size() != count) {
      ASSERT_FALSE(deadline.Passed());
      std::this_thread::yield();
    }
  }
  /// The first error of Poll within `span`, or kDeadlineExceeded.
  Status WaitForFailure(Channel& channel, Millis span) {
    Recorder ignored;
    return Drive(channel, ignored, [] { return false; }, span);
  }
  void ExpectCutOff(Channel& channel, Millis span = Millis(5000)) {
    const Status failure = WaitForFailure(channel, span);
    EXPECT_EQ(failure.code(), ErrorCode::kUnavailable) << failure.ToString();
    Recorder ignored;
    EXPECT_EQ(channel.Poll(ignored).code(), ErrorCode::kUnavailable) << "the error is not sticky";
    EXPECT_FALSE(channel.Read(OpTag(99), Slots(1, 1)).ok());
  }

  std::unique_ptr<ChannelHarness> harness_;
  std::shared_ptr<FakeSlotMemory> memory_;
};

TEST_P(ChannelConformance, ReadsWhatWasWrittenOverBothRoles) {
  const auto bulk = Dial(Role::kBulk);
  const auto urgent = Dial(Role::kUrgent);
  ASSERT_TRUE(WriteNow(*bulk, Slots(5, 3)).ok());
  ExpectHolds(*bulk, Slots(5, 3));
  ExpectHolds(*urgent, Slots(6, 1));
  EXPECT_EQ(bulk->PageSize(), kBasePage);
  EXPECT_EQ(bulk->MaxBatch(), 64U);
}

TEST_P(ChannelConformance, PagesComeInTheOrderOfTheRequest) {
  const auto bulk = Dial(Role::kBulk);
  ASSERT_TRUE(WriteNow(*bulk, Slots(1, 64)).ok());
  auto slots = Slots(1, 64);
  std::shuffle(slots.begin(), slots.end(), std::mt19937(1));
  ExpectHolds(*bulk, slots);
  const std::vector<Slot> twice = {Slot(3), Slot(3), Slot(2)};
  ExpectHolds(*bulk, twice);
}

TEST_P(ChannelConformance, UnwrittenSlotIsDataLossNeverZeros) {
  const auto bulk = Dial(Role::kBulk);
  ASSERT_TRUE(WriteNow(*bulk, Slots(1, 2)).ok());
  EXPECT_EQ(ReadNow(*bulk, Slots(3, 1)).status().code(), ErrorCode::kDataLoss);
  // One bad slot fails the whole read, and the channel goes on.
  EXPECT_EQ(ReadNow(*bulk, Slots(1, 3)).status().code(), ErrorCode::kDataLoss);
  ExpectHolds(*bulk, Slots(1, 2));
}

TEST_P(ChannelConformance, SlotsOutOfRangeAreRefused) {
  const auto bulk = Dial(Role::kBulk);
  EXPECT_EQ(ReadNow(*bulk, Slots(1025, 1)).status().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(WriteNow(*bulk, Slots(1024, 2)).code(), ErrorCode::kInvalidArgument);
  EXPECT_FALSE(memory_->IsWritten(Slot(1024))) << "a refused write wrote";
  EXPECT_EQ(ReleaseNow(*bulk, Slots(0xFFFFFFFF, 1)).code(), ErrorCode::kInvalidArgument);
  ASSERT_TRUE(WriteNow(*bulk, Slots(1024, 1)).ok());
  ExpectHolds(*bulk, Slots(1024, 1));
}

TEST_P(ChannelConformance, BadArgumentsStartNothing) {
  const auto bulk = Dial(Role::kBulk);
  const auto page = Pattern(Slots(1, 1), kBasePage);
  EXPECT_EQ(bulk->Read(OpTag(1), {}).code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(bulk->Read(OpTag(1), Slots(1, 65)).code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(bulk->Read(OpTag(1), Slots(0, 1)).code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(bulk->Write(OpTag(1), Slots(1, 2), page, Attempt::kFirst).code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(bulk->Write(OpTag(1), Slots(1, 1), page, Attempt::kInvalid).code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(bulk->Release(OpTag(1), {}).code(), ErrorCode::kInvalidArgument);
  const auto urgent = Dial(Role::kUrgent);
  EXPECT_EQ(urgent->Write(OpTag(1), Slots(1, 1), page, Attempt::kFirst).code(), ErrorCode::kFailedPrecondition);
  EXPECT_EQ(urgent->Release(OpTag(1), Slots(1, 1)).code(), ErrorCode::kFailedPrecondition);
  ASSERT_TRUE(WriteNow(*bulk, Slots(1, 1)).ok());
  ExpectHolds(*urgent, Slots(1, 1));
}

TEST_P(ChannelConformance, SecondFirstWriteIsRefusedAndKeepsTheBytes) {
  const auto bulk = Dial(Role::kBulk);
  ASSERT_TRUE(WriteNow(*bulk, Slots(2, 1)).ok());
  const auto other = Pattern(Slots(100, 3), kBasePage);
  EXPECT_EQ(WriteNow(*bulk, Slots(1, 3), other, Attempt::kFirst).code(), ErrorCode::kAlreadyExists);
  ExpectHolds(*bulk, Slots(2, 1));
  EXPECT_FALSE(memory_->IsWritten(Slot(1))) << "a refused batch wrote a part of itself";
  EXPECT_FALSE(memory_->IsWritten(Slot(3))) << "a refused batch wrote a part of itself";
}

TEST_P(ChannelConformance, AfterARepeatedWriteAllOfItIsThere) {
  const auto bulk = Dial(Role::kBulk);
  ASSERT_TRUE(WriteNow(*bulk, Slots(2, 1)).ok());
  ASSERT_TRUE(WriteNow(*bulk, Slots(1, 3), Attempt::kRepeated).ok());
  ExpectHolds(*bulk, Slots(1, 3));
}

TEST_P(ChannelConformance, ReleasedSlotIsGoneAndCanBeWrittenAgain) {
  const auto bulk = Dial(Role::kBulk);
  ASSERT_TRUE(WriteNow(*bulk, Slots(1, 64)).ok());
  ASSERT_TRUE(ReleaseNow(*bulk, Slots(1, 63)).ok());
  EXPECT_EQ(ReadNow(*bulk, Slots(1, 1)).status().code(), ErrorCode::kDataLoss);
  ExpectHolds(*bulk, Slots(64, 1));
  ASSERT_TRUE(WriteNow(*bulk, Slots(1, 63)).ok());
  ExpectHolds(*bulk, Slots(1, 64));
  EXPECT_TRUE(ReleaseNow(*bulk, Slots(200, 5)).ok()) << "releasing what is not written is no error";
}

TEST_P(ChannelConformance, ReleaseCompletesAfterEveryWriteBeforeIt) {
  const auto bulk = Dial(Role::kBulk);
  const auto pages = Pattern(Slots(1, 8), kBasePage);
  Recorder done;
  for (std::uint32_t i = 0; i < 8; ++i) {
    const auto page = std::span(pages).subspan(i * 4096, 4096);
    ASSERT_TRUE(bulk->Write(OpTag(i + 1), Slots(i + 1, 1), page, Attempt::kFirst).ok());
  }
  ASSERT_TRUE(bulk->Release(OpTag(100), Slots(1, 4)).ok());
  ASSERT_TRUE(Drive(*bulk, done, [&] { return done.size() == 9; }).ok());
  EXPECT_EQ(done.order().back(), 100U);
  EXPECT_FALSE(memory_->IsWritten(Slot(4)));
  EXPECT_TRUE(memory_->IsWritten(Slot(5)));
}

TEST_P(ChannelConformance, ManyInFlightEachGetItsOwnAnswer) {
  const auto bulk = Dial(Role::kBulk);
  for (std::uint32_t first = 1; first <= 961; first += 64) ASSERT_TRUE(WriteNow(*bulk, Slots(first, 64)).ok());
  const auto urgent = Dial(Role::kUrgent);
  std::mt19937 random(2);
  const auto below = [&](std::uint32_t bound) { return static_cast<std::uint32_t>(random() % bound); };
  for (Channel* const channel : {urgent.get(), bulk.get()}) {
    Recorder done;
    std::map<std::uint64_t, std::vector<Slot>> asked;
    for (std::uint64_t tag = 1; tag <= 150; ++tag) {
      auto slots = Slots(1 + below(950), 1 + below(64));
      // Some of them fail: their answers are shorter than what was asked for.
      if (tag % 7 == 0) slots[slots.size() / 2] = Slot(5000);
      while (true) {
        const Status started = channel->Read(OpTag(tag), slots);
        if (started.ok()) break;
        ASSERT_EQ(started.code(), ErrorCode::kBusy) << started.ToString();
        const std::size_t before = done.size();
        ASSERT_TRUE(Drive(*channel, done, [&] { return done.size() > before; }).ok());
      }
      asked[tag] = slots;
    }
    ASSERT_TRUE(Drive(*channel, done, [&] { return done.size() == asked.size(); }).ok());
    for (const auto& [tag, slots] : asked) {
      if (tag % 7 == 0) {
        EXPECT_EQ(done.Get(tag).status.code(), ErrorCode::kInvalidArgument);
      } else {
        ASSERT_TRUE(done.Get(tag).status.ok()) << done.Get(tag).status.ToString();
        EXPECT_TRUE(done.Get(tag).pages == Pattern(slots, kBasePage)) << "read " << tag;
      }
    }
  }
}

TEST_P(ChannelConformance, CreditsBoundWhatIsInFlight) {
  const auto bulk = Dial(Role::kBulk);
  ASSERT_TRUE(WriteNow(*bulk, Slots(1, 1)).ok());
  const auto urgent = Dial(Role::kUrgent);
  harness_->HoldAnswers(*memory_);
  std::uint64_t started = 0;
  Status last;
  while (last.ok() && started < 10000) {
    last = urgent->Read(OpTag(started + 1), Slots(1, 1));
    if (last.ok()) ++started;
  }
  EXPECT_EQ(last.code(), ErrorCode::kBusy) << last.ToString();
  EXPECT_GE(started, 2U);
  EXPECT_LE(started, 256U);
  harness_->LetAnswersGo(*memory_);
  Recorder done;
  ASSERT_TRUE(Drive(*urgent, done, [&] { return done.size() == started; }).ok());
  EXPECT_FALSE(done.Has(started + 1)) << "the refused read was started";
  ExpectHolds(*urgent, Slots(1, 1));
}

TEST_P(ChannelConformance, ReadsAndWritesOnOneChannelAtTheSameTime) {
  const auto bulk = Dial(Role::kBulk);
  ASSERT_TRUE(WriteNow(*bulk, Slots(1, 64)).ok());
  Recorder done;
  std::vector<std::vector<std::byte>> pages;
  std::uint64_t tag = 0;
  for (std::uint32_t first = 65; first + 63 <= 1024; first += 64) {
    pages.push_back(Pattern(Slots(first, 64), kBasePage));
    const auto start = [&](auto operation) {
      for (Status started = operation(); !started.ok(); started = operation()) {
        ASSERT_EQ(started.code(), ErrorCode::kBusy);
        const std::size_t before = done.size();
        ASSERT_TRUE(Drive(*bulk, done, [&] { return done.size() > before; }).ok());
      }
    };
    ++tag;
    start([&] { return bulk->Write(OpTag(tag), Slots(first, 64), pages.back(), Attempt::kFirst); });
    ++tag;
    start([&] { return bulk->Read(OpTag(tag), Slots(1, 64)); });
  }
  ASSERT_TRUE(Drive(*bulk, done, [&] { return done.size() == tag; }).ok());
  for (std::uint64_t i = 1; i <= tag; ++i) EXPECT_TRUE(done.Get(i).status.ok()) << done.Get(i).status.ToString();
  for (std::uint32_t first = 1; first + 63 <= 1024; first += 64) ExpectHolds(*bulk, Slots(first, 64));
}

TEST_P(ChannelConformance, WritesAndReleasesOfTheSameSlotTakeEffectInTheirOrder) {
  const auto bulk = Dial(Role::kBulk);
  const auto first = Pattern(Slots(1, 4), kBasePage);
  const auto second = Pattern(Slots(101, 4), kBasePage);
  Recorder done;
  ASSERT_TRUE(bulk->Write(OpTag(1), Slots(1, 4), first, Attempt::kFirst).ok());
  ASSERT_TRUE(bulk->Release(OpTag(2), Slots(1, 4)).ok());
  ASSERT_TRUE(bulk->Write(OpTag(3), Slots(1, 4), second, Attempt::kFirst).ok());
  ASSERT_TRUE(bulk->Release(OpTag(4), Slots(3, 1)).ok());
  ASSERT_TRUE(Drive(*bulk, done, [&] { return done.size() == 4; }).ok());
  for (std::uint64_t tag = 1; tag <= 4; ++tag) EXPECT_TRUE(done.Get(tag).status.ok()) << done.Get(tag).status.ToString();
  const auto there = ReadNow(*bulk, Slots(1, 2));
  ASSERT_TRUE(there.ok()) << there.status().ToString();
  EXPECT_TRUE(std::equal(there->begin(), there->end(), second.begin()));
  EXPECT_EQ(ReadNow(*bulk, Slots(3, 1)).status().code(), ErrorCode::kDataLoss);
}

TEST_P(ChannelConformance, WhatIsWrittenIsKnownWhereverItsMarkLies) {
  constexpr std::uint32_t kSlots = 2 * 4096 + 64;  // their marks reach over the ends of two pages at least
  constexpr std::uint32_t kAtOnce = 7;             // in step with no page
  UseMemory(kBasePage, kSlots, kSlots);
  const auto written = [](std::uint32_t first) { return first / kAtOnce % 3 != 0; };
  {
    const auto bulk = Dial(Role::kBulk);
    for (std::uint32_t first = 1; first + kAtOnce <= kSlots; first += kAtOnce) {
      if (!written(first)) continue;
      ASSERT_TRUE(WriteNow(*bulk, Slots(first, kAtOnce)).ok()) << first;
    }
  }
  WaitForServedConnections(0);
  const auto bulk = Dial(Role::kBulk);
  for (std::uint32_t first = 1; first + kAtOnce <= kSlots; first += kAtOnce) {
    SCOPED_TRACE(first);
    if (written(first)) {
      ExpectHolds(*bulk, Slots(first, kAtOnce));
    } else {
      ASSERT_EQ(ReadNow(*bulk, Slots(first, kAtOnce)).status().code(), ErrorCode::kDataLoss);
    }
  }
}

TEST_P(ChannelConformance, WhatIsThereIsSeenByOneThatHasNotWrittenIt) {
  {
    const auto bulk = Dial(Role::kBulk);
    ASSERT_TRUE(WriteNow(*bulk, Slots(10, 20)).ok());
    ASSERT_TRUE(ReleaseNow(*bulk, Slots(15, 1)).ok());
  }
  WaitForServedConnections(0);
  const auto bulk = Dial(Role::kBulk);
  ExpectHolds(*bulk, Slots(16, 14));
  EXPECT_EQ(ReadNow(*bulk, Slots(10, 20)).status().code(), ErrorCode::kDataLoss);
  EXPECT_EQ(WriteNow(*bulk, Slots(9, 2)).code(), ErrorCode::kAlreadyExists);
  ASSERT_TRUE(WriteNow(*bulk, Slots(9, 22), Attempt::kRepeated).ok());
  ExpectHolds(*bulk, Slots(9, 22));
}

TEST_P(ChannelConformance, WhatAnotherConnectionHasChangedIsSeen) {
  const auto slots = Slots(1, 8);
  const auto bulk = Dial(Role::kBulk);
  const auto urgent = Dial(Role::kUrgent);
  ASSERT_TRUE(WriteNow(*bulk, slots).ok());
  ASSERT_TRUE(ReleaseNow(*bulk, slots).ok());
  WriteAsAnother(slots);
  ExpectHolds(*bulk, slots);  // not by urgent: that the server has sent a page before it is written again, no sanitizer sees
  for (const Slot slot : slots) ASSERT_TRUE(memory_->Release(slot).ok());
  const Status again = WriteNow(*bulk, slots);
  EXPECT_TRUE(again.ok()) << again.ToString();
  ExpectHolds(*urgent, slots);
}

TEST_P(ChannelConformance, WhatIsAddedIsReachedLikeTheRest) {
  UseMemory(kBasePage, 64, 64);
  const auto bulk = Dial(Role::kBulk);
  const auto urgent = Dial(Role::kUrgent);
  ASSERT_TRUE(WriteNow(*bulk, Slots(1, 64)).ok());
  for (std::uint32_t piece = 1; piece <= 4; ++piece) {
    memory_->Grow(64);
    const auto added = Slots(piece * 64 + 1, 64);
    ASSERT_TRUE(WriteNow(*bulk, added).ok());
    ExpectHolds(*urgent, added);
  }
  ExpectHolds(*bulk, Slots(1, 64));
  if (!GetParam().alone) return;
  ExpectNoServerIsAskedBy([&] {
    ExpectHolds(*urgent, Slots(257, 64));
    ASSERT_TRUE(WriteNow(*bulk, Slots(257, 64), Attempt::kRepeated).ok());
  });
}

TEST_P(ChannelConformance, AReleaseStaysBehindAWriteThatIsCarriedOutInAnotherWay) {
  UseMemory(kBasePage, 64, 64);
  const auto bulk = Dial(Role::kBulk);
  const auto other = Dial(Role::kBulk);
  ASSERT_TRUE(WriteNow(*bulk, Slots(1, 1)).ok());
  memory_->Grow(64);
  WriteAsAnother(Slots(65, 1));
  if (GetParam().alone) {  // it is registered, which neither of the two knows
    const auto urgent = Dial(Role::kUrgent);
    ExpectNoServerIsAskedBy([&] { ExpectHolds(*urgent, Slots(65, 1)); });
  }
  const auto page = Pattern(Slots(66, 1), kBasePage);
  Recorder done, others;
  harness_->HoldAnswers(*memory_);
  ASSERT_TRUE(other->Read(OpTag(1), Slots(65, 1)).ok());
  ASSERT_TRUE(bulk->Write(OpTag(1), Slots(66, 1), page, Attempt::kFirst).ok());
  if (GetParam().alone) {  // while the server is held up, it becomes known
    for (std::uint64_t tag = 2; tag < 12; ++tag) {
      ASSERT_TRUE(bulk->Read(OpTag(tag), Slots(1, 1)).ok());
      static_cast<void>(Drive(*bulk, done, [] { return false; }, Millis(20)));
    }
  }
  ASSERT_TRUE(bulk->Release(OpTag(20), Slots(66, 1)).ok());
  static_cast<void>(Drive(*bulk, done, [] { return false; }, Millis(100)));
  harness_->LetAnswersGo(*memory_);
  ASSERT_TRUE(Drive(*bulk, done, [&] { return done.Has(1) && done.Has(20); }).ok());
  EXPECT_EQ(done.order().back(), 20U);
  EXPECT_FALSE(memory_->IsWritten(Slot(66)));
  ASSERT_TRUE(Drive(*other, others, [&] { return others.Has(1); }).ok());
}

TEST_P(ChannelConformance, MemoryInManyPieces) {
  UseMemory(kBasePage, 1024, 3);
  const auto bulk = Dial(Role::kBulk);
  for (const std::uint32_t first : {1U, 300U, 961U}) {
    ASSERT_TRUE(WriteNow(*bulk, Slots(first, 64)).ok());
    ExpectHolds(*bulk, Slots(first, 64));
  }
  const auto urgent = Dial(Role::kUrgent);
  ExpectHolds(*urgent, Slots(1024, 1));
  if (!GetParam().alone) return;
  ExpectNoServerIsAskedBy([&] {
    ExpectHolds(*bulk, Slots(300, 64));
    ExpectHolds(*urgent, Slots(961, 64));
  });
}

TEST_P(ChannelConformance, HugePages) {
  UseMemory(kHugePage, 4, 4);
  const auto bulk = Dial(Role::kBulk);
  EXPECT_EQ(bulk->PageSize(), kHugePage);
  EXPECT_EQ(bulk->MaxBatch(), 1U);
  for (std::uint32_t slot = 1; slot <= 4; ++slot) ASSERT_TRUE(WriteNow(*bulk, Slots(slot, 1)).ok());
  ASSERT_TRUE(WriteNow(*bulk, Slots(1, 1), Attempt::kRepeated).ok());
  EXPECT_EQ(WriteNow(*bulk, Slots(1, 1)).code(), ErrorCode::kAlreadyExists);
  const auto urgent = Dial(Role::kUrgent);
  for (std::uint32_t slot = 4; slot >= 1; --slot) ExpectHolds(*urgent, Slots(slot, 1));
}

TEST_P(ChannelConformance, TrafficIsCounted) {
  const auto bulk = Dial(Role::kBulk);
  ASSERT_TRUE(WriteNow(*bulk, Slots(1, 3)).ok());
  ExpectHolds(*bulk, Slots(1, 2));
  EXPECT_EQ(bulk->Moved().written, 3U * 4096);
  EXPECT_EQ(bulk->Moved().read, 2U * 4096);
  if (GetParam().alone) return;
  // The server counts what it has sent, and we may have it before that.
  auto connections = harness_->server().Connections();
  for (const auto deadline = Deadline::After(std::chrono::seconds(10));
       !connections.empty() && connections[0].bytes_out < 2U * 4096 && !deadline.Passed();) {
    std::this_thread::yield();
    connections = harness_->server().Connections();
  }
  ASSERT_EQ(connections.size(), 1U);
  EXPECT_EQ(connections[0].lease, kLease);
  EXPECT_EQ(connections[0].role, Role::kBulk);
  EXPECT_GE(connections[0].bytes_in, 3U * 4096);
  EXPECT_GE(connections[0].bytes_out, 2U * 4096);
  EXPECT_NE(bulk->Describe().find("bulk"), std::string::npos) << bulk->Describe();
}

TEST_P(ChannelConformance, TokenIsGoodOnce) {
  const Hello hello = Expect(Role::kBulk);
  ASSERT_TRUE(TryDial(hello).ok());
  EXPECT_EQ(TryDial(hello).status().code(), ErrorCode::kPermissionDenied);
  Hello forged = Expect(Role::kBulk);
  forged.token[0] = ~forged.token[0];
  EXPECT_EQ(TryDial(forged).status().code(), ErrorCode::kPermissionDenied);
}

TEST_P(ChannelConformance, HelloMustMatchItsToken) {
  Hello lease = Expect(Role::kBulk);
  lease.lease = LeaseId(8);
  EXPECT_EQ(TryDial(lease).status().code(), ErrorCode::kPermissionDenied);
  Hello epoch = Expect(Role::kBulk);
  epoch.epoch = Epoch(4);
  EXPECT_EQ(TryDial(epoch).status().code(), ErrorCode::kPermissionDenied);
  Hello role = Expect(Role::kBulk);
  role.role = Role::kUrgent;
  EXPECT_EQ(TryDial(role).status().code(), ErrorCode::kPermissionDenied);
}

TEST_P(ChannelConformance, LaterEpochCutsOffAtTheNextMessage) {
  const auto bulk = Dial(Role::kBulk);
  ASSERT_TRUE(WriteNow(*bulk, Slots(1, 1)).ok());
  memory_->SetOwner(Epoch(4));
  // Nobody is asked, so it is the server's own look that ends it; whoever changes the owner waits for that.
  if (GetParam().alone) WaitForServedConnections(0);
  const auto page = Pattern(Slots(2, 1), kBasePage);
  ASSERT_TRUE(bulk->Write(OpTag(1), Slots(2, 1), page, Attempt::kFirst).ok());
  ExpectCutOff(*bulk);
  EXPECT_FALSE(memory_->IsWritten(Slot(2)));
}

TEST_P(ChannelConformance, WriterThatGoesAwayLeavesItsSlotUnwritten) {
  if (GetParam().alone) GTEST_SKIP() << "nothing holds up a client that writes by itself";
  UseMemory(kHugePage, 2, 2);
  auto bulk = Dial(Role::kBulk);
  ASSERT_TRUE(WriteNow(*bulk, Slots(1, 1)).ok());
  // The server waits at the read, so no socket takes all of the 2 MiB behind it.
  const auto page = Pattern(Slots(2, 1), kHugePage);
  harness_->HoldAnswers(*memory_);
  ASSERT_TRUE(bulk->Read(OpTag(1), Slots(1, 1)).ok());
  ASSERT_TRUE(bulk->Write(OpTag(2), Slots(2, 1), page, Attempt::kFirst).ok());
  bulk.reset();
  harness_->LetAnswersGo(*memory_);
  WaitForServedConnections(0);
  EXPECT_FALSE(memory_->IsWritten(Slot(2)));
  const auto again = Dial(Role::kBulk);
  ASSERT_TRUE(WriteNow(*again, Slots(2, 1), Attempt::kRepeated).ok());
  ExpectHolds(*again, Slots(2, 1));
}

TEST_P(ChannelConformance, ServerThatGoesAwayIsAnError) {
  const Transport transport = GetParam();
  auto other = transport.make();
  ASSERT_TRUE(other.ok());
  const Endpoint endpoint = (*other)->server().endpoint();
  const Hello hello = (*other)->admission().Expect(kLease, kEpoch, Role::kBulk, memory_);
  auto channel = (*other)->dialer().Dial(endpoint, hello, Deadline::After(Millis(5000)));
  ASSERT_TRUE(channel.ok()) << channel.status().ToString();
  other->reset();
  ExpectCutOff(**channel);
}

TEST_P(ChannelConformance, NobodyAnswersOnAnEndpointWithoutServer) {
  Endpoint nowhere = harness_->server().endpoint();
  nowhere.port = 2;
  const auto dialled = harness_->dialer().Dial(nowhere, Expect(Role::kBulk), Deadline::After(Millis(2000)));
  EXPECT_EQ(dialled.status().code(), ErrorCode::kUnavailable) << dialled.status().ToString();
}

TEST_P(ChannelConformance, CutLinkIsNoticedWhateverTheChannelWaitsFor) {
  const auto nothing = Dial(Role::kUrgent);
  const auto acknowledgement = Dial(Role::kBulk);
  const auto answer = Dial(Role::kUrgent);
  ASSERT_TRUE(WriteNow(*acknowledgement, Slots(1, 1)).ok());
  harness_->HoldAnswers(*memory_);
  ASSERT_TRUE(answer->Read(OpTag(1), Slots(1, 1)).ok());
  ASSERT_TRUE(harness_->CutLink().ok());
  static_cast<void>(acknowledgement->Read(OpTag(1), Slots(1, 1)));  // the loopback's already knows
  const Deadline noticed = Deadline::After(kNoticed);
  ExpectCutOff(*nothing, Millis(noticed.LeftMs()));
  ExpectCutOff(*acknowledgement, Millis(noticed.LeftMs()));
  ExpectCutOff(*answer, Millis(noticed.LeftMs()));
  harness_->LetAnswersGo(*memory_);
}

INSTANTIATE_TEST_SUITE_P(Every, ChannelConformance, ::testing::ValuesIn(Transports()),
                         [](const auto& param) { return std::string(param.param.name); });

}  // namespace
}  // namespace heca::transport
