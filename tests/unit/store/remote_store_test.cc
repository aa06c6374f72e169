// SPDX-License-Identifier: LGPL-2.1-or-later
#include "store/remote_store.h"

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "sponsor_rig.h"
#include "store/random.h"
#include "support/page_store_driver.h"

namespace heca::store {
namespace {

using test::ReadDriver;
using test::SlotRange;
using test::SponsorRig;
using test::Wire;
using test::WriteDriver;

/// Remembers what it was told; waits for it.
class Witness final : public StoreObserver {
 public:
  void OnHealth(StoreHealth health, const Status& why) override {
    const std::lock_guard lock(mutex_);
    health_ = health;
    why_ = why;
    changed_.notify_all();
  }
  void OnLease(const control::Lease& lease) override {
    const std::lock_guard lock(mutex_);
    lease_ = lease;
    changed_.notify_all();
  }
  bool AwaitHealth(StoreHealth wanted) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10), [&] { return health_ == wanted; });
  }
  bool AwaitEpoch(Epoch wanted) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10), [&] { return lease_.key.epoch == wanted; });
  }
  Status why() {
    const std::lock_guard lock(mutex_);
    return why_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  StoreHealth health_ = StoreHealth::kInvalid;
  Status why_;
  control::Lease lease_;
};

class RemoteStoreTest : public ::testing::TestWithParam<Wire> {
 protected:
  void SetUp() override {
    lease_ = rig_.MustReserve(256);
    Use(RemoteStore::Create(rig_.line(), lease_, rig_.Options(), &witness_));
  }
  void TearDown() override { Drop(); }
  void Use(Result<std::unique_ptr<RemoteStore>> store) {
    ASSERT_TRUE(store.ok()) << store.status().ToString();
    store_ = std::move(store).value();
    auto reader = store_->OpenReader(Role::kUrgent);
    auto writer = store_->OpenWriter();
    ASSERT_TRUE(reader.ok()) << reader.status().ToString();
    ASSERT_TRUE(writer.ok()) << writer.status().ToString();
    reader_ = std::move(reader).value();
    writer_ = std::move(writer).value();
    read_.emplace(*reader_);
    write_.emplace(*writer_);
  }
  void Drop() {
    reader_.reset();
    writer_.reset();
    store_.reset();
  }
  Status WriteVersion(std::span<const Slot> slots, std::uint64_t version) {
    return write_->Write(slots, test::MakePages(kBasePage, slots, version));
  }
  bool Holds(std::span<const Slot> slots, std::uint64_t version) {
    const auto got = read_->Read(slots);
    EXPECT_TRUE(got.status.ok()) << got.status.ToString();
    return got.pages == test::MakePages(kBasePage, slots, version);
  }

  SponsorRig rig_{GetParam()};
  Witness witness_;
  control::Lease lease_;
  std::unique_ptr<RemoteStore> store_;
  std::unique_ptr<PageReader> reader_;
  std::unique_ptr<PageWriter> writer_;
  std::optional<ReadDriver> read_;
  std::optional<WriteDriver> write_;
};

TEST_P(RemoteStoreTest, GoesOnAfterTheSponsorRestartsWithItsMemory) {
  ASSERT_TRUE(WriteVersion(SlotRange(1, 8), 1).ok());
  rig_.Stop();
  const Slot slot(3);
  ASSERT_TRUE(reader_->Start(OpTag(1), {&slot, 1}).ok()) << "a lost connection is no error of an operation";
  const auto late = SlotRange(20, 1);
  const auto pages = test::MakePages(kBasePage, late, 2);
  ASSERT_TRUE(writer_->Write(OpTag(2), late, pages).ok());
  while (store_->Health() != StoreHealth::kDisconnected) {
    EXPECT_EQ(reader_->Poll(*read_), 0u);
    EXPECT_EQ(writer_->Poll(*write_), 0u);
    test::WaitFor(reader_->Need());
  }
  rig_.Start();
  ASSERT_TRUE(read_->Await(1));
  EXPECT_TRUE(read_->done.at(1).pages == test::MakePages(kBasePage, {&slot, 1}, 1));
  ASSERT_TRUE(write_->Await(1));
  EXPECT_TRUE(write_->done.at(2).ok());
  EXPECT_TRUE(Holds(late, 2));
  EXPECT_TRUE(witness_.AwaitHealth(StoreHealth::kGood));
}

TEST_P(RemoteStoreTest, IsLostWhenTheSponsorComesBackEmpty) {
  ASSERT_TRUE(WriteVersion(SlotRange(1, 8), 1).ok());
  rig_.Stop();
  const Slot slot(3);
  ASSERT_TRUE(reader_->Start(OpTag(1), {&slot, 1}).ok());
  rig_.LoseMemory();
  rig_.Start();
  ASSERT_TRUE(read_->Await(1));
  EXPECT_EQ(read_->done.at(1).status.code(), ErrorCode::kDataLoss);
  EXPECT_TRUE(read_->done.at(1).pages.empty()) << "never zeros";
  EXPECT_TRUE(witness_.AwaitHealth(StoreHealth::kLost));
  EXPECT_EQ(store_->Health(), StoreHealth::kLost);
  EXPECT_EQ(witness_.why().code(), ErrorCode::kDataLoss);
  EXPECT_EQ(reader_->Start(OpTag(2), {&slot, 1}).code(), ErrorCode::kDataLoss);
  EXPECT_EQ(write_->Write(SlotRange(9, 1), test::MakePages(kBasePage, SlotRange(9, 1), 1)).code(),
            ErrorCode::kDataLoss);
  EXPECT_EQ(store_->OpenReader(Role::kBulk).status().code(), ErrorCode::kDataLoss);
}

TEST_P(RemoteStoreTest, ResumesAfterARestartOfTheOwnerAndShutsItsFormerLifeOut) {
  ASSERT_TRUE(WriteVersion(SlotRange(1, 8), 1).ok());
  const control::TakeOverRequest request{lease_.key, Epoch(2), RandomSecret(), "c1", "boot-1"};
  Witness witness;
  auto resumed = RemoteStore::Resume(rig_.line(), lease_, request, rig_.Options(), &witness);
  ASSERT_TRUE(resumed.ok());
  // The former life still runs (a thread that would not die): it is told, and can do nothing any more.
  const Slot slot(1);
  const auto got = read_->Read({&slot, 1});
  Status denied = got.status;
  const auto deadline = Deadline::After(std::chrono::seconds(10));
  while (denied.ok() && !deadline.Passed()) denied = read_->Read({&slot, 1}).status;
  EXPECT_EQ(denied.code(), ErrorCode::kPermissionDenied);
  EXPECT_EQ(write_->Release({&slot, 1}).code(), ErrorCode::kPermissionDenied);
  EXPECT_EQ(writer_->Poll(*write_), 0u);  // lets go of its connection, which loopback cannot take from it
  EXPECT_TRUE(witness_.AwaitHealth(StoreHealth::kLost));
  EXPECT_TRUE(witness.AwaitEpoch(Epoch(2)));
  Drop();
  Use(std::move(resumed));
  EXPECT_TRUE(Holds(SlotRange(1, 8), 1));
  ASSERT_TRUE(write_->Release(SlotRange(1, 8)).ok());
  ASSERT_TRUE(WriteVersion(SlotRange(1, 8), 2).ok());
  EXPECT_EQ(store_->lease().key.epoch, Epoch(2));
}

TEST_P(RemoteStoreTest, ALeaseThatIsToBeHandedOverIsLeftAloneBeforeItIs) {
  ASSERT_TRUE(WriteVersion(SlotRange(1, 8), 1).ok());
  Witness witness;
  auto heir = RemoteStore::Await(rig_.line(), lease_, rig_.Options(), &witness);
  ASSERT_TRUE(heir.ok());
  auto reader = (*heir)->OpenReader(Role::kUrgent);
  ASSERT_TRUE(reader.ok()) << reader.status().ToString();
  ReadDriver driver(**reader);
  const Slot slot(1);
  ASSERT_TRUE((*reader)->Start(OpTag(1), {&slot, 1}).ok());
  EXPECT_EQ((*reader)->Poll(driver), 0U);
  EXPECT_EQ((*heir)->Health(), StoreHealth::kDisconnected);
  EXPECT_TRUE(Holds(SlotRange(1, 8), 1)) << "it is its owner's still";
  ASSERT_TRUE(WriteVersion(SlotRange(20, 1), 1).ok());
  Drop();
  (*heir)->Begin({lease_.key, Epoch(2), RandomSecret(), "c2", "boot-2"});
  ASSERT_TRUE(driver.Await(1));
  EXPECT_TRUE(driver.done.at(1).pages == test::MakePages(kBasePage, {&slot, 1}, 1));
  EXPECT_TRUE(witness.AwaitEpoch(Epoch(2)));
  EXPECT_TRUE(witness.AwaitHealth(StoreHealth::kGood));
  driver.done.clear();
  EXPECT_TRUE(driver.Read(SlotRange(20, 1)).status.ok());
}

TEST_P(RemoteStoreTest, ResumeWaitsForASponsorThatIsDown) {
  ASSERT_TRUE(WriteVersion(SlotRange(1, 1), 1).ok());
  Drop();
  rig_.Stop();
  const control::TakeOverRequest request{lease_.key, Epoch(2), RandomSecret(), "c1", "boot-1"};
  Use(RemoteStore::Resume(rig_.line(), lease_, request, rig_.Options(), &witness_));
  EXPECT_EQ(store_->Health(), StoreHealth::kDisconnected);
  const Slot slot(1);
  ASSERT_TRUE(reader_->Start(OpTag(1), {&slot, 1}).ok());
  EXPECT_EQ(reader_->Poll(*read_), 0u);
  rig_.Start();
  ASSERT_TRUE(read_->Await(1));
  EXPECT_TRUE(read_->done.at(1).pages == test::MakePages(kBasePage, {&slot, 1}, 1));
  EXPECT_TRUE(witness_.AwaitHealth(StoreHealth::kGood));
}

/// Pages that are here must be governed again, however early it was found out that the others are lost.
TEST_P(RemoteStoreTest, AResumedStoreThatIsLostOpensReadersThatSaySo) {
  Drop();
  rig_.Stop();
  rig_.LoseMemory();
  rig_.Start();
  const control::TakeOverRequest request{lease_.key, Epoch(2), RandomSecret(), "c1", "boot-1"};
  Witness witness;
  auto resumed = RemoteStore::Resume(rig_.line(), lease_, request, rig_.Options(), &witness);
  ASSERT_TRUE(resumed.ok());
  ASSERT_TRUE(witness.AwaitHealth(StoreHealth::kLost));
  auto reader = (*resumed)->OpenReader(Role::kUrgent);
  ASSERT_TRUE(reader.ok()) << reader.status().ToString();
  const Slot slot(1);
  EXPECT_EQ((*reader)->Start(OpTag(1), {&slot, 1}).code(), ErrorCode::kDataLoss);
}

TEST_P(RemoteStoreTest, ExtendsAndGivesBack) {
  EXPECT_EQ(store_->SlotCount(), 256u);
  EXPECT_FALSE(WriteVersion(SlotRange(257, 1), 1).ok());
  ASSERT_TRUE(store_->Extend(100).ok());
  EXPECT_EQ(store_->SlotCount(), 512u);
  ASSERT_TRUE(WriteVersion(SlotRange(257, 1), 1).ok());
  EXPECT_TRUE(Holds(SlotRange(257, 1), 1));
  EXPECT_EQ(store_->Extend(1'000'000).code(), ErrorCode::kResourceExhausted);
  EXPECT_NE(store_->Describe().find("m1"), std::string::npos);
  EXPECT_EQ(store_->Transport(), GetParam() == Wire::kTcp ? "tcp" : "loopback");
  ASSERT_EQ(store_->Links().size(), 2u);
  EXPECT_GT(store_->Links()[0].bytes_read + store_->Links()[1].bytes_read, 0u);
  ASSERT_TRUE(store_->Free().ok());
  EXPECT_TRUE(store_->Free().ok()) << "twice is fine";
  EXPECT_EQ(read_->Read(SlotRange(257, 1)).status.code(), ErrorCode::kAborted);
  Drop();
  EXPECT_TRUE(rig_.sponsor().Leases().empty());
}

TEST_P(RemoteStoreTest, SlotIsNotWrittenWhileItsReleaseIsInFlight) {
  const auto slots = SlotRange(4, 1);
  ASSERT_TRUE(WriteVersion(slots, 1).ok());
  rig_.Stop();
  ASSERT_TRUE(writer_->Release(OpTag(1), slots).ok());
  const auto pages = test::MakePages(kBasePage, slots, 2);
  EXPECT_EQ(writer_->Write(OpTag(2), slots, pages).code(), ErrorCode::kAlreadyExists);
  EXPECT_EQ(writer_->Release(OpTag(3), slots).code(), ErrorCode::kBusy);
  rig_.Start();
  ASSERT_TRUE(write_->Await(1));
  EXPECT_TRUE(write_->done.at(1).ok());
  ASSERT_TRUE(WriteVersion(slots, 2).ok());
  EXPECT_TRUE(Holds(slots, 2));
}

TEST_P(RemoteStoreTest, OpenFailsWhereNoDataPortAnswers) {
  auto options = rig_.Options();
  options.open_wait = Millis(100);
  options.dialers = {};
  auto store = RemoteStore::Create(rig_.line(), rig_.MustReserve(1), options);
  ASSERT_TRUE(store.ok());
  const auto reader = (*store)->OpenReader(Role::kUrgent);
  EXPECT_EQ(reader.status().code(), ErrorCode::kUnavailable);
  EXPECT_NE(reader.status().message().find("offers no transport that may be used: here none may"), std::string_view::npos)
      << reader.status().ToString();
  EXPECT_EQ((*store)->Transport(), "");
  EXPECT_EQ((*store)->OpenReader(Role::kInvalid).status().code(), ErrorCode::kInvalidArgument);
}

// A writer that keeps writing, checking through the reader, releasing and reusing the same few slots, while the
// connections break again and again. An old write or release that took effect late would lose or change a page.
TEST_P(RemoteStoreTest, ReusedSlotsStayRightWhileConnectionsBreak) {
  constexpr std::uint32_t kSlots = 16;
  constexpr int kBreaks = 25;
  std::atomic<int> breaks{0};
  std::thread breaker([&] {
    for (int i = 0; i < kBreaks; ++i) {
      const auto links = store_->Links();
      const auto deadline = Deadline::After(std::chrono::seconds(5));
      // Breaks again only when both connections were made anew.
      const auto again = [&] {
        const auto now = store_->Links();
        return now.size() == links.size() && now[0].connects > links[0].connects && now[1].connects > links[1].connects;
      };
      rig_.BreakConnections();
      while (!again() && !deadline.Passed()) std::this_thread::yield();
      ++breaks;
    }
  });
  std::uint64_t version = 0;
  std::uint64_t rounds = 0;
  const auto deadline = Deadline::After(std::chrono::seconds(60));
  while (breaks < kBreaks && !deadline.Passed()) {
    ++version;
    std::vector<std::vector<std::byte>> pages;
    write_->done.clear();
    for (std::uint32_t slot = 1; slot <= kSlots; ++slot) {
      pages.push_back(test::MakePages(kBasePage, SlotRange(slot, 1), version));
      ASSERT_TRUE(writer_->Write(OpTag(slot), SlotRange(slot, 1), pages.back()).ok());
    }
    ASSERT_TRUE(write_->Await(kSlots));
    for (const auto& [tag, status] : write_->done) ASSERT_TRUE(status.ok()) << tag << ": " << status.ToString();
    ASSERT_TRUE(Holds(SlotRange(1, kSlots), version)) << "round " << rounds;
    write_->done.clear();
    for (std::uint32_t slot = 1; slot <= kSlots; ++slot) {
      ASSERT_TRUE(writer_->Release(OpTag(slot), SlotRange(slot, 1)).ok());
    }
    ASSERT_TRUE(write_->Await(kSlots));
    for (const auto& [tag, status] : write_->done) ASSERT_TRUE(status.ok()) << tag << ": " << status.ToString();
    ++rounds;
  }
  breaker.join();
  EXPECT_EQ(breaks, kBreaks);
  EXPECT_GT(rounds, 0u);
}

INSTANTIATE_TEST_SUITE_P(Wires, RemoteStoreTest, ::testing::Values(Wire::kLoopback, Wire::kTcp),
                         [](const auto& wire) { return wire.param == Wire::kLoopback ? "loopback" : "tcp"; });

TEST(RemoteStoreStallTest, ConnectionThatMakesNoProgressIsGivenUp) {
  SponsorRig rig(Wire::kLoopback);
  auto options = rig.Options();
  options.stall_limit = Millis(100);
  auto store = RemoteStore::Create(rig.line(), rig.MustReserve(1), options);
  auto reader = store.value()->OpenReader(Role::kUrgent);
  ASSERT_TRUE(reader.ok());
  rig.network().Stall({"m1", 1});
  ReadDriver driver(**reader);
  const Slot slot(1);
  ASSERT_TRUE((*reader)->Start(OpTag(1), {&slot, 1}).ok());
  const auto deadline = Deadline::After(std::chrono::seconds(10));
  while (store.value()->Links()[0].connects < 2 && !deadline.Passed()) {
    EXPECT_EQ((*reader)->Poll(driver), 0u);
    test::WaitFor((*reader)->Need());
  }
  EXPECT_GE(store.value()->Links()[0].connects, 2u);
  rig.network().Resume({"m1", 1});
  ASSERT_TRUE(driver.Await(1));
  EXPECT_EQ(driver.done.at(1).status.code(), ErrorCode::kDataLoss) << "nothing was written";
}

/// To a network where nothing is set up within the time that a dial has at first.
class FarDialer final : public transport::Dialer {
 public:
  FarDialer(transport::Dialer& near, Millis takes) : near_(near), takes_(takes) {}
  Result<std::unique_ptr<transport::Channel>> Dial(const transport::Endpoint& endpoint, const transport::Hello& hello,
                                                   Deadline deadline) override {
    const auto given = Millis(deadline.LeftMs());
    std::this_thread::sleep_for(std::min(given, takes_));
    if (given < takes_) return Status(ErrorCode::kDeadlineExceeded, "no answer", ErrorScope::kConnection);
    return near_.Dial(endpoint, hello, deadline);
  }

 private:
  transport::Dialer& near_;
  const Millis takes_;
};

TEST(RemoteStoreDialTest, AConnectionThatTakesLongerThanTheFirstDialHasIsSetUp) {
  SponsorRig rig(Wire::kLoopback);
  FarDialer dialer(rig.network(), Millis(100));
  auto options = rig.Options();
  options.dialers = {{"loopback", &dialer}};
  options.dial_timeout = Millis(10);
  options.longest_dial = Millis(1000);
  auto store = RemoteStore::Create(rig.line(), rig.MustReserve(1), options);
  const auto reader = store.value()->OpenReader(Role::kUrgent);
  EXPECT_TRUE(reader.ok()) << reader.status().ToString();
}

/// Of which it is noted where its pages are said to come from.
class ToldChannel final : public transport::Channel {
 public:
  ToldChannel(std::unique_ptr<transport::Channel> real, std::vector<std::span<const std::byte>>& told)
      : real_(std::move(real)), told_(told) {}
  void WritesFrom(std::span<const std::byte> memory) override { told_.push_back(memory); }
  Status Read(OpTag tag, std::span<const Slot> slots) override { return real_->Read(tag, slots); }
  Status Write(OpTag tag, std::span<const Slot> slots, std::span<const std::byte> pages, transport::Attempt attempt) override {
    EXPECT_FALSE(told_.empty()) << "before the first write";
    return real_->Write(tag, slots, pages, attempt);
  }
  Status Release(OpTag tag, std::span<const Slot> slots) override { return real_->Release(tag, slots); }
  Status Poll(transport::ChannelSink& sink) override { return real_->Poll(sink); }
  [[nodiscard]] PollNeed Need() const override { return real_->Need(); }
  [[nodiscard]] std::size_t MaxBatch() const override { return real_->MaxBatch(); }
  [[nodiscard]] Bytes PageSize() const override { return real_->PageSize(); }
  [[nodiscard]] Traffic Moved() const override { return real_->Moved(); }
  [[nodiscard]] std::string Describe() const override { return real_->Describe(); }

 private:
  const std::unique_ptr<transport::Channel> real_;
  std::vector<std::span<const std::byte>>& told_;
};

class TellingDialer final : public transport::Dialer {
 public:
  explicit TellingDialer(transport::Dialer& real) : real_(real) {}
  Result<std::unique_ptr<transport::Channel>> Dial(const transport::Endpoint& endpoint, const transport::Hello& hello,
                                                   Deadline deadline) override {
    HECA_ASSIGN_OR_RETURN(auto channel, real_.Dial(endpoint, hello, deadline));
    return std::unique_ptr<transport::Channel>(std::make_unique<ToldChannel>(std::move(channel), told));
  }
  std::vector<std::span<const std::byte>> told;  ///< by the writer's thread, which is the test's

 private:
  transport::Dialer& real_;
};

TEST(RemoteStoreDialTest, EachConnectionIsToldWherePagesAreWrittenFrom) {
  SponsorRig rig(Wire::kLoopback);
  TellingDialer dialer(rig.network());
  auto options = rig.Options();
  options.dialers = {{"loopback", &dialer}};
  auto store = RemoteStore::Create(rig.line(), rig.MustReserve(256), options);
  const auto writer = store.value()->OpenWriter();
  ASSERT_TRUE(writer.ok()) << writer.status().ToString();
  WriteDriver driver(**writer);
  const auto slots = SlotRange(1, 2);
  const auto pages = test::MakePages(kBasePage, slots, 1);
  (*writer)->WritesFrom(pages);
  ASSERT_TRUE((*writer)->Write(OpTag(1), std::span(slots).first(1), std::span(pages).first(kBasePage.value())).ok());
  ASSERT_TRUE(driver.Await(1));
  rig.Stop();
  ASSERT_TRUE((*writer)->Write(OpTag(2), std::span(slots).last(1), std::span(pages).last(kBasePage.value())).ok());
  while (store.value()->Health() != StoreHealth::kDisconnected) {
    EXPECT_EQ((*writer)->Poll(driver), 0u);
    test::WaitFor((*writer)->Need());
  }
  rig.Start();
  ASSERT_TRUE(driver.Await(2));
  ASSERT_EQ(dialer.told.size(), 2U) << "the second one too";
  for (const auto& memory : dialer.told) EXPECT_TRUE(memory.data() == pages.data() && memory.size() == pages.size());
}

}  // namespace
}  // namespace heca::store
