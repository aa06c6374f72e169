// SPDX-License-Identifier: LGPL-2.1-or-later
// What every transport promises of pages (transport/channel.h), run on every transport. Of connections: channel_life_test.cc.
#include "channel_conformance.h"

#include <random>

namespace heca::transport {
namespace {

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

TEST_P(ChannelConformance, PagesAreWrittenFromMemoryThatItWasToldOfAndFromOther) {
  const auto slots = Slots(1, 64);
  std::vector<Slot> scattered = Slots(100, 32);
  std::reverse(scattered.begin(), scattered.end());
  const auto pages = Pattern(slots, kBasePage);
  const auto others = Pattern(scattered, kBasePage);
  // Told of all but the last byte of what is written at the end.
  std::vector<std::byte> memory(pages.begin(), pages.end());
  memory.insert(memory.end(), others.begin(), others.end());
  const auto at = [&memory](std::size_t page, std::size_t count) {
    return std::span<const std::byte>(memory).subspan(page * kBasePage.value(), count * kBasePage.value());
  };
  const auto channel = Dial(Role::kBulk);
  channel->WritesFrom(std::span(memory).first(memory.size() - 1));
  ASSERT_TRUE(WriteNow(*channel, slots, at(0, 64), Attempt::kFirst).ok());
  ASSERT_TRUE(WriteNow(*channel, std::span(scattered).first(16), at(64, 16), Attempt::kFirst).ok());
  ASSERT_TRUE(WriteNow(*channel, std::span(scattered).last(16), at(80, 16), Attempt::kFirst).ok());
  const auto elsewhere = Slots(200, 3);
  ASSERT_TRUE(WriteNow(*channel, elsewhere).ok());
  for (std::byte& byte : memory) byte = std::byte{0xEE};  // it is the caller's again
  ASSERT_TRUE(WriteNow(*channel, Slots(300, 1), at(0, 1), Attempt::kFirst).ok());
  const auto other = Dial(Role::kUrgent);
  for (const auto& written : {slots, scattered, elsewhere}) ExpectHolds(*other, written);
  EXPECT_TRUE(*ReadNow(*other, Slots(300, 1)) == std::vector<std::byte>(kBasePage.value(), std::byte{0xEE}));
}

TEST_P(ChannelConformance, ManyWritesFromMemoryThatItWasToldOfAreInFlightAtOnce) {
  constexpr std::uint32_t kPages = 8, kWrites = 60;
  std::vector<std::byte> memory;
  for (std::uint32_t i = 0; i < kWrites; ++i) {
    const auto pages = Pattern(Slots(1 + i * kPages, kPages), kBasePage);
    memory.insert(memory.end(), pages.begin(), pages.end());
  }
  const auto channel = Dial(Role::kBulk);
  channel->WritesFrom(memory);
  Recorder done;
  for (std::uint32_t i = 0; i < kWrites; ++i) {
    const auto slots = Slots(1 + i * kPages, kPages);
    const auto pages = std::span<const std::byte>(memory).subspan(i * kPages * kBasePage.value(), kPages * kBasePage.value());
    Status started = channel->Write(OpTag(i), slots, pages, Attempt::kFirst);
    for (; started.code() == ErrorCode::kBusy; started = channel->Write(OpTag(i), slots, pages, Attempt::kFirst)) {
      ASSERT_TRUE(Drive(*channel, done, [before = done.size(), &done] { return done.size() > before; }).ok());
    }
    ASSERT_TRUE(started.ok()) << started.ToString();
  }
  ASSERT_TRUE(Drive(*channel, done, [&] { return done.size() == kWrites; }).ok());
  for (std::uint32_t i = 0; i < kWrites; ++i) {
    EXPECT_TRUE(done.Get(i).status.ok());
    ExpectHolds(*channel, Slots(1 + i * kPages, kPages));
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

INSTANTIATE_TEST_SUITE_P(Every, ChannelConformance, ::testing::ValuesIn(Transports()),
                         [](const auto& param) { return std::string(param.param.name); });

}  // namespace
}  // namespace heca::transport
