// SPDX-License-Identifier: LGPL-2.1-or-later
// What every PageStore must do (heca/page_store.h), as one parameterised suite. A test program includes this header in
// one file and instantiates it with a factory for each implementation:
//
//   INSTANTIATE_TEST_SUITE_P(Memory, heca::test::PageStoreConformance,
//                            ::testing::Values(heca::test::StoreCase{"memory", [] { return ...; }}),
//                            heca::test::StoreCaseName);
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "heca/page_store.h"
#include "support/page_store_driver.h"

namespace heca::test {

/// A store with at least 256 slots and whatever keeps it alive.
class StoreUnderTest {
 public:
  virtual ~StoreUnderTest() = default;
  virtual PageStore& store() = 0;
  /// Breaks every connection; operations go on by themselves soon after. False: this store has none to break.
  virtual bool Interrupt() { return false; }
};

struct StoreCase {
  std::string name;
  std::function<std::unique_ptr<StoreUnderTest>()> make;
};

inline std::string StoreCaseName(const ::testing::TestParamInfo<StoreCase>& info) { return info.param.name; }

class PageStoreConformance : public ::testing::TestWithParam<StoreCase> {
 protected:
  void SetUp() override {
    under_test_ = GetParam().make();
    ASSERT_NE(under_test_, nullptr);
    auto reader = store().OpenReader(Role::kUrgent);
    ASSERT_TRUE(reader.ok()) << reader.status().ToString();
    auto writer = store().OpenWriter();
    ASSERT_TRUE(writer.ok()) << writer.status().ToString();
    reader_ = std::move(reader).value();
    writer_ = std::move(writer).value();
    read_.emplace(*reader_);
    write_.emplace(*writer_);
  }
  void TearDown() override {
    reader_.reset();
    writer_.reset();
  }
  PageStore& store() { return under_test_->store(); }
  std::vector<std::byte> Pages(std::span<const Slot> slots, std::uint64_t version) {
    return MakePages(store().PageSize(), slots, version);
  }
  Status WriteVersion(std::span<const Slot> slots, std::uint64_t version) {
    return write_->Write(slots, Pages(slots, version));
  }
  void ExpectVersion(std::span<const Slot> slots, std::uint64_t version) {
    const auto got = read_->Read(slots);
    ASSERT_TRUE(got.status.ok()) << got.status.ToString();
    EXPECT_TRUE(got.pages == Pages(slots, version)) << "slot " << slots[0].value() << " has other bytes";
  }
  void ExpectUnwritten(Slot slot) {
    const auto got = read_->Read({&slot, 1});
    EXPECT_EQ(got.status.code(), ErrorCode::kDataLoss) << "slot " << slot.value();
    EXPECT_TRUE(got.pages.empty());
  }

  std::unique_ptr<StoreUnderTest> under_test_;
  std::unique_ptr<PageReader> reader_;
  std::unique_ptr<PageWriter> writer_;
  std::optional<ReadDriver> read_;
  std::optional<WriteDriver> write_;
};

TEST_P(PageStoreConformance, SaysWhatItIs) {
  EXPECT_TRUE(store().PageSize() == kBasePage || store().PageSize() == kHugePage);
  EXPECT_GE(store().SlotCount(), 256u);
  EXPECT_FALSE(store().Describe().empty());
  EXPECT_EQ(store().Health(), StoreHealth::kGood);
  EXPECT_GE(reader_->MaxBatch(), 1u);
  EXPECT_GE(writer_->MaxBatch(), 1u);
}

TEST_P(PageStoreConformance, WrittenPageIsReadByEveryReader) {
  const auto slots = SlotRange(1, 1);
  ASSERT_TRUE(WriteVersion(slots, 1).ok());
  ExpectVersion(slots, 1);
  auto bulk = store().OpenReader(Role::kBulk);
  ASSERT_TRUE(bulk.ok()) << bulk.status().ToString();
  ReadDriver driver(**bulk);
  EXPECT_TRUE(driver.Read(slots).pages == Pages(slots, 1));
}

TEST_P(PageStoreConformance, BatchesComeInTheOrderAskedFor) {
  std::vector<Slot> slots = SlotRange(1, static_cast<std::uint32_t>(std::min<std::size_t>(writer_->MaxBatch(), 64)));
  ASSERT_TRUE(WriteVersion(slots, 3).ok());
  std::shuffle(slots.begin(), slots.end(), std::mt19937(1));
  slots.resize(std::min(slots.size(), reader_->MaxBatch()));
  ExpectVersion(slots, 3);
}

TEST_P(PageStoreConformance, UnwrittenSlotIsAnErrorAndNeverZeros) {
  ExpectUnwritten(Slot(7));
  ASSERT_TRUE(WriteVersion(SlotRange(8, 1), 1).ok());
  ExpectUnwritten(Slot(7));
}

TEST_P(PageStoreConformance, BatchWithOneUnwrittenSlotIsAnErrorAsAWhole) {
  if (reader_->MaxBatch() < 2) GTEST_SKIP() << "this store reads one page at a time";
  ASSERT_TRUE(WriteVersion(SlotRange(1, 1), 1).ok());
  const auto got = read_->Read(SlotRange(1, 2));
  EXPECT_EQ(got.status.code(), ErrorCode::kDataLoss);
  EXPECT_TRUE(got.pages.empty());
  ExpectVersion(SlotRange(1, 1), 1);
}

TEST_P(PageStoreConformance, ReleasedSlotIsGoneAndCanBeReused) {
  const auto slots = SlotRange(5, 1);
  ASSERT_TRUE(WriteVersion(slots, 1).ok());
  ASSERT_TRUE(write_->Release(slots).ok());
  ExpectUnwritten(slots[0]);
  ASSERT_TRUE(WriteVersion(slots, 2).ok());
  ExpectVersion(slots, 2);
}

TEST_P(PageStoreConformance, SecondWriteIsRefusedAndChangesNothing) {
  const auto slots = SlotRange(9, 1);
  ASSERT_TRUE(WriteVersion(slots, 1).ok());
  EXPECT_EQ(WriteVersion(slots, 2).code(), ErrorCode::kAlreadyExists);
  ExpectVersion(slots, 1);
}

TEST_P(PageStoreConformance, ReleaseOfWhatIsNotWrittenIsNoError) {
  EXPECT_TRUE(write_->Release(SlotRange(20, 3)).ok());
  EXPECT_TRUE(write_->Release(SlotRange(20, 3)).ok());
  ExpectUnwritten(Slot(20));
}

TEST_P(PageStoreConformance, ReleaseCompletesAfterTheWritesBeforeIt) {
  const auto first = SlotRange(30, 1);
  const auto second = SlotRange(31, 1);
  const auto pages_first = Pages(first, 1);
  const auto pages_second = Pages(second, 1);
  ASSERT_TRUE(writer_->Write(OpTag(1), first, pages_first).ok());
  ASSERT_TRUE(writer_->Write(OpTag(2), second, pages_second).ok());
  ASSERT_TRUE(writer_->Release(OpTag(3), first).ok());
  ASSERT_TRUE(write_->Await(3));
  EXPECT_EQ(write_->order.back(), 3u);
  for (const auto& [tag, status] : write_->done) EXPECT_TRUE(status.ok()) << tag << ": " << status.ToString();
  ExpectUnwritten(Slot(30));
  ExpectVersion(second, 1);
}

TEST_P(PageStoreConformance, WrongArgumentsAreRefused) {
  const auto beyond = SlotRange(store().SlotCount() + 1, 1);
  EXPECT_EQ(WriteVersion(beyond, 1).code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(WriteVersion(SlotRange(0, 1), 1).code(), ErrorCode::kInvalidArgument);
  EXPECT_FALSE(read_->Read(beyond).status.ok());
  EXPECT_FALSE(read_->Read(SlotRange(0, 1)).status.ok());
  EXPECT_EQ(reader_->Start(OpTag(1), {}).code(), ErrorCode::kInvalidArgument);
  const auto many = SlotRange(1, static_cast<std::uint32_t>(reader_->MaxBatch() + 1));
  EXPECT_EQ(reader_->Start(OpTag(1), many).code(), ErrorCode::kInvalidArgument);
  EXPECT_FALSE(store().OpenReader(Role::kInvalid).ok());
  ASSERT_TRUE(WriteVersion(SlotRange(1, 1), 1).ok());
  ExpectVersion(SlotRange(1, 1), 1);
}

TEST_P(PageStoreConformance, BusyStartsNothingAndEverythingElseCompletesOnce) {
  const auto slots = SlotRange(1, 200);
  for (const Slot slot : slots) ASSERT_TRUE(WriteVersion({&slot, 1}, 1).ok());
  std::size_t started = 0;
  bool busy = false;
  while (started < 100'000) {
    const Slot slot = slots[started % slots.size()];
    const Status status = reader_->Start(OpTag(started), {&slot, 1});
    if (status.code() == ErrorCode::kBusy) {
      busy = true;
      break;
    }
    ASSERT_TRUE(status.ok()) << status.ToString();
    ++started;
  }
  EXPECT_TRUE(busy) << "what is in flight must be bounded";
  ASSERT_TRUE(read_->Await(started));
  EXPECT_EQ(reader_->Poll(*read_), 0u);
  for (const auto& [tag, done] : read_->done) {
    const Slot slot = slots[tag % slots.size()];
    ASSERT_TRUE(done.status.ok());
    EXPECT_TRUE(done.pages == Pages({&slot, 1}, 1));
  }
}

TEST_P(PageStoreConformance, ReadersOnOtherThreadsSeeWhatIsWritten) {
  constexpr std::uint32_t kSlots = 128;
  std::atomic<std::uint32_t> written{0};
  std::vector<std::thread> threads;
  for (const Role role : {Role::kUrgent, Role::kBulk}) {
    threads.emplace_back([&, role] {
      auto reader = store().OpenReader(role);
      ASSERT_TRUE(reader.ok()) << reader.status().ToString();
      ReadDriver driver(**reader);
      std::mt19937 random(static_cast<unsigned>(role));
      const auto deadline = Deadline::After(std::chrono::seconds(10));
      for (int i = 0; i < 300 && !deadline.Passed();) {
        const std::uint32_t upto = written.load(std::memory_order_acquire);
        if (upto == 0) {
          std::this_thread::yield();
          continue;
        }
        const Slot slot(1 + static_cast<std::uint32_t>(random()) % upto);
        const auto got = driver.Read({&slot, 1});
        ASSERT_TRUE(got.status.ok()) << got.status.ToString();
        ASSERT_TRUE(got.pages == Pages({&slot, 1}, slot.value()));
        ++i;
      }
    });
  }
  for (std::uint32_t i = 1; i <= kSlots; ++i) {
    const Slot slot(i);
    EXPECT_TRUE(WriteVersion({&slot, 1}, i).ok());
    written.store(i, std::memory_order_release);
  }
  for (auto& thread : threads) thread.join();
}

TEST_P(PageStoreConformance, InterruptedOperationsComplete) {
  const auto kept = SlotRange(1, 64);
  for (const Slot slot : kept) ASSERT_TRUE(WriteVersion({&slot, 1}, 1).ok());
  if (!under_test_->Interrupt()) GTEST_SKIP() << "this store has no connection to break";
  std::vector<std::vector<std::byte>> pages;
  const auto fresh = SlotRange(100, 8);
  for (std::size_t round = 0; round < 8; ++round) {
    const Slot slot = fresh[round];
    pages.push_back(Pages({&slot, 1}, 5));
    ASSERT_TRUE(writer_->Write(OpTag(round), {&slot, 1}, pages.back()).ok());
    ASSERT_TRUE(reader_->Start(OpTag(round), {&kept[round], 1}).ok());
    static_cast<void>(writer_->Poll(*write_));
    under_test_->Interrupt();
  }
  ASSERT_TRUE(write_->Await(8));
  ASSERT_TRUE(read_->Await(8));
  for (std::size_t i = 0; i < 8; ++i) {
    EXPECT_TRUE(write_->done.at(i).ok()) << write_->done.at(i).ToString();
    EXPECT_TRUE(read_->done.at(i).pages == Pages({&kept[i], 1}, 1));
  }
  for (const Slot slot : fresh) ExpectVersion({&slot, 1}, 5);
}

TEST_P(PageStoreConformance, RandomOperationsAgreeWithAModel) {
  constexpr std::uint32_t kSlots = 48;
  std::mt19937 random(42);
  std::map<std::uint32_t, std::uint64_t> model;  // slot -> version
  for (std::uint64_t step = 1; step <= 1000; ++step) {
    const Slot slot(1 + static_cast<std::uint32_t>(random()) % kSlots);
    const bool there = model.count(slot.value()) != 0;
    if (step % 100 == 0 && under_test_->Interrupt()) {
      // A write that is sent twice because its connection broke cannot be told from a second one: the writer gets
      // its new connection first.
      ASSERT_TRUE(write_->Release(SlotRange(200, 1)).ok());
    }
    switch (random() % 4) {
      case 0:
      case 1: {
        const auto got = read_->Read({&slot, 1});
        ASSERT_EQ(got.status.code(), there ? ErrorCode::kOk : ErrorCode::kDataLoss) << got.status.ToString();
        if (there) {
          ASSERT_TRUE(got.pages == Pages({&slot, 1}, model[slot.value()]));
        }
        break;
      }
      case 2:
        ASSERT_EQ(WriteVersion({&slot, 1}, step).code(), there ? ErrorCode::kAlreadyExists : ErrorCode::kOk);
        if (!there) model[slot.value()] = step;
        break;
      default:
        ASSERT_TRUE(write_->Release({&slot, 1}).ok());
        model.erase(slot.value());
    }
  }
  for (const auto& [slot, version] : model) {
    const Slot kept(slot);
    ExpectVersion({&kept, 1}, version);
  }
}

}  // namespace heca::test
