// SPDX-License-Identifier: LGPL-2.1-or-later
#include "store/joined_store.h"

#include <gtest/gtest.h>

#include <optional>
#include <vector>

#include "joined_rig.h"
#include "store/joined_writer.h"

namespace heca::test {
namespace {

class JoinedStoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto reader = joined_.store().OpenReader(Role::kBulk);
    auto writer = joined_.store().OpenWriter();
    ASSERT_TRUE(reader.ok() && writer.ok());
    reader_ = std::move(*reader);
    writer_ = std::move(*writer);
    read_.emplace(*reader_);
    write_.emplace(*writer_);
    const std::vector<Slot> behind = SlotRange(kImage + 1, 8);
    ASSERT_TRUE(write_->Write(behind, MakePages(kBasePage, behind, 5)).ok());
  }
  /// What the slots hold: version 77 in the image, 5 behind it.
  static std::vector<std::byte> Want(std::span<const Slot> slots) {
    std::vector<std::byte> want;
    for (const Slot slot : slots) {
      const auto page = MakePages(kBasePage, {&slot, 1}, slot.value() <= kImage ? 77 : 5);
      want.insert(want.end(), page.begin(), page.end());
    }
    return want;
  }
  void ExpectRead(const std::vector<Slot>& slots) {
    const auto got = read_->Read(slots);
    ASSERT_TRUE(got.status.ok()) << got.status.ToString();
    EXPECT_TRUE(got.pages == Want(slots));
  }
  const std::vector<Slot> mixed_{Slot(kImage + 3), Slot(1), Slot(kImage), Slot(kImage + 1), Slot(50)};

  Joined joined_;
  std::unique_ptr<PageReader> reader_;
  std::unique_ptr<PageWriter> writer_;
  std::optional<ReadDriver> read_;
  std::optional<WriteDriver> write_;
};

TEST_F(JoinedStoreTest, ABatchMayMix) {
  ExpectRead(SlotRange(1, 60));
  ExpectRead(mixed_);
  for (std::size_t round = 0; round < 200; ++round) ExpectRead({mixed_[round % 5], mixed_[(round + 3) % 5]});
  EXPECT_EQ(joined_.store().ReadOnlySlots(), kImage);
}

TEST_F(JoinedStoreTest, ManyMixedBatchesInFlightAreEachAnsweredOnce) {
  std::size_t started = 0;
  while (started < 1000 && reader_->Start(OpTag(started), mixed_).ok()) ++started;
  EXPECT_GE(started, 8U);
  EXPECT_LT(started, 1000U) << "what is in flight must be bounded";
  ASSERT_TRUE(read_->Await(started));
  for (const auto& [tag, done] : read_->done) {
    ASSERT_TRUE(done.status.ok()) << tag << ": " << done.status.ToString();
    EXPECT_TRUE(done.pages == Want(mixed_));
  }
}

TEST_F(JoinedStoreTest, AMixedBatchWaitsForTheSlowerSide) {
  joined_.arena().switches().disconnected = true;
  ASSERT_TRUE(reader_->Start(OpTag(1), mixed_).ok());
  ASSERT_TRUE(reader_->Start(OpTag(2), SlotRange(kImage + 1, 2)).ok());
  ASSERT_TRUE(read_->Await(1));
  EXPECT_EQ(read_->done.count(2), 1U) << "the other side is not held up";
  EXPECT_EQ(joined_.store().Health(), StoreHealth::kDisconnected);
  joined_.arena().switches().disconnected = false;
  ASSERT_TRUE(read_->Await(2));
  EXPECT_TRUE(read_->done.at(1).pages == Want(mixed_));
}

TEST_F(JoinedStoreTest, APageThatIsLostOnEitherSideFailsTheBatchAndIsNeverZeros) {
  for (const Slot lost : {Slot(kImage + 200), Slot(9)}) {
    joined_.arena().Present(Slot(9)) = 0;
    const auto got = read_->Read(std::vector<Slot>{Slot(1), lost, Slot(kImage + 1)});
    EXPECT_EQ(got.status.code(), ErrorCode::kDataLoss) << lost.value();
    EXPECT_TRUE(got.pages.empty());
  }
  ExpectRead(mixed_);
}

TEST_F(JoinedStoreTest, TheImageIsNeverWrittenNorToldOfReleases) {
  const auto slots = SlotRange(kImage, 2);
  EXPECT_EQ(writer_->Write(OpTag(1), slots, MakePages(kBasePage, slots, 1)).code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(writer_->Release(OpTag(1), slots).code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(joined_.arena().switches().released.load(), 0U);
}

TEST(JoinedWriterTest, TheLeaseIsToldWherePagesAreWrittenFrom) {
  MemoryArena arena(kBasePage, 8);
  store::JoinedWriter writer(kImage, std::make_unique<MemoryWriter>(arena));
  const auto slots = SlotRange(kImage + 1, 1);
  const auto pages = MakePages(kBasePage, slots, 5);
  writer.WritesFrom(pages);
  ASSERT_TRUE(writer.Write(OpTag(1), slots, pages).ok());
  EXPECT_EQ(arena.switches().violations.load(), 0U);
  const auto others = pages;
  ASSERT_TRUE(writer.Write(OpTag(2), slots, others).ok());
  EXPECT_EQ(arena.switches().violations.load(), 1U) << "which only who was told can know";
}

TEST_F(JoinedStoreTest, AnImageThatWasGivenBackIsMissedByNobody) {
  ExpectRead(mixed_);
  joined_.arena().switches().disconnected = true;
  joined_.store().ForgetImage();
  EXPECT_EQ(joined_.store().Health(), StoreHealth::kGood);
  EXPECT_EQ(read_->Read(SlotRange(1, 1)).status.code(), ErrorCode::kDataLoss);
  EXPECT_EQ(read_->Read(mixed_).status.code(), ErrorCode::kDataLoss);
  ExpectRead(SlotRange(kImage + 1, 8));
  EXPECT_EQ(joined_.store().SlotCount(), kImage + 256) << "pages keep the numbers of their slots";
}

}  // namespace
}  // namespace heca::test
