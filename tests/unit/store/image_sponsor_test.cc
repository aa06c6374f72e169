// SPDX-License-Identifier: LGPL-2.1-or-later
#include "store/image_sponsor.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "support/ram_on_tmpfs.h"

namespace heca::store {
namespace {

using testing::RamOnTmpfs;

constexpr std::uint64_t kPage = kBasePage.value();

std::vector<ImageBlock> One(ImageBlock block) {
  std::vector<ImageBlock> blocks;
  blocks.push_back(std::move(block));
  return blocks;
}

TEST(RamImage, ReadsPagesAndHolesOnceItIsOpenAndMakesNone) {
  const RamOnTmpfs ram(64);
  ram.Fill(0, 'a');
  ram.Fill(9, 'b');
  ram.Fill(40, 'c');
  std::vector<ImageBlock> blocks;  // the second half of the file first
  blocks.push_back(ram.Block(32, 32));
  blocks.push_back(ram.Block(0, 32));
  const auto image = RamImage::Create(LeaseId(7), Epoch(1), std::move(blocks)).value();
  EXPECT_EQ(image->SlotCount(), 64U);
  EXPECT_EQ(image->ForRead(Slot(1)).status().code(), ErrorCode::kFailedPrecondition);
  image->Open();
  const auto byte = [&](std::uint32_t slot) { return static_cast<char>(image->ForRead(Slot(slot)).value()[kPage - 1]); };
  EXPECT_EQ(byte(9), 'c');
  EXPECT_EQ(byte(33), 'a');
  EXPECT_EQ(byte(42), 'b');
  EXPECT_EQ(byte(1), '\0');
  EXPECT_EQ(byte(64), '\0');
  EXPECT_EQ(ram.PagesHeld(), 3U) << "reading a hole made a page";
  for (const std::uint32_t slot : {0U, 65U, 1000000U}) {
    EXPECT_EQ(image->ForRead(Slot(slot)).status().code(), ErrorCode::kInvalidArgument) << slot;
  }
  const auto holes = image->Holes().value();
  std::uint64_t pages = 0;
  for (const auto& hole : holes) pages += hole.pages;
  EXPECT_EQ(pages, 61U);
  EXPECT_EQ(holes.front().first, 0U);
  EXPECT_EQ(holes.front().pages, 8U);
  ram.Fill(10, '\0');  // a page of zeros: as good as a hole
  EXPECT_EQ(image->Holes().value().size(), holes.size());
  image->Close();
  EXPECT_FALSE(image->ForRead(Slot(9)).ok());
}

TEST(RamImage, IsNeverWritten) {
  const RamOnTmpfs ram(8);
  const auto image = RamImage::Create(LeaseId(7), Epoch(1), One(ram.Block(0, 8))).value();
  image->Open();
  EXPECT_EQ(image->BeginWrite(Slot(1), transport::Attempt::kFirst).status().code(), ErrorCode::kPermissionDenied);
  EXPECT_TRUE(image->Release(Slot(1)).ok());
  EXPECT_TRUE(image->Release(Slot(1)).ok());
  EXPECT_EQ(image->progress().released, 1U);
}

class ImageSponsorTest : public ::testing::Test {
 protected:
  ImageSponsorTest() { ram_.Fill(2, 'x'); }
  control::Lease Offer() { return sponsor_.Offer("vm", One(ram_.Block(0, 16))).value(); }
  Result<std::shared_ptr<transport::SlotMemory>> Dial(const control::LeaseKey& key, std::uint32_t stream = 0) {
    HECA_ASSIGN_OR_RETURN(const auto grant, sponsor_.OpenData(key, Role::kUrgent, stream, 1));
    return sponsor_.Admit({grant.tokens.front(), key.id, key.epoch, Role::kUrgent});
  }

  RamOnTmpfs ram_{16};
  ImageSponsor sponsor_;
};

TEST_F(ImageSponsorTest, LendsToWhoHasTheKey) {
  const control::Lease lease = Offer();
  EXPECT_TRUE(IsImage(lease.key.id));
  EXPECT_EQ(lease.slots, 16U);
  control::LeaseKey wrong = lease.key;
  wrong.secret[3] ^= std::byte{1};
  EXPECT_EQ(Dial(wrong).status().code(), ErrorCode::kPermissionDenied);
  EXPECT_EQ(sponsor_.Free(wrong).code(), ErrorCode::kPermissionDenied);
  const auto view = Dial(lease.key);
  ASSERT_TRUE(view.ok()) << view.status().ToString();
  EXPECT_FALSE((*view)->ForRead(Slot(3)).ok()) << "the VM still runs";
  ASSERT_TRUE(sponsor_.OpenImage(lease.key.id).ok());
  EXPECT_EQ((*view)->ForRead(Slot(3)).value()[0], std::byte{'x'});
}

TEST_F(ImageSponsorTest, AnImageThatIsWithdrawnIsReadByNobody) {
  const control::Lease lease = Offer();
  ASSERT_TRUE(sponsor_.OpenImage(lease.key.id).ok());
  const auto view = Dial(lease.key).value();
  sponsor_.Withdraw(lease.key.id);
  EXPECT_FALSE(view->StillOwnedBy(lease.key.epoch));
  EXPECT_FALSE(view->ForRead(Slot(3)).ok());
  EXPECT_EQ(Dial(lease.key).status().code(), ErrorCode::kNotFound);
  EXPECT_EQ(sponsor_.Renew(lease.key, "b").status().code(), ErrorCode::kNotFound);
}

TEST_F(ImageSponsorTest, ABorrowerThatRestartsTakesItOver) {
  const control::Lease lease = Offer();
  ASSERT_TRUE(sponsor_.OpenImage(lease.key.id).ok());
  auto old = Dial(lease.key).value();
  control::TakeOverRequest request{.key = lease.key, .to = Epoch(2), .claim = {}, .owner_node = "n", .owner_boot_id = "b"};
  request.claim.fill(std::byte{5});
  EXPECT_EQ(sponsor_.TakeOver(request).status().code(), ErrorCode::kBusy) << "the former connection still lives";
  EXPECT_FALSE(old->ForRead(Slot(3)).ok());
  old.reset();
  const auto taken = sponsor_.TakeOver(request);  // the same claim: again
  ASSERT_TRUE(taken.ok()) << taken.status().ToString();
  EXPECT_EQ(taken->key.epoch, Epoch(2));
  EXPECT_EQ(Dial(lease.key).status().code(), ErrorCode::kPermissionDenied);
  EXPECT_TRUE(Dial(taken->key).ok());
  request.claim.fill(std::byte{6});
  EXPECT_EQ(sponsor_.TakeOver(request).status().code(), ErrorCode::kPermissionDenied) << "another claimant";
}

TEST_F(ImageSponsorTest, GivenBackIsTheEnd) {
  const control::Lease lease = Offer();
  ASSERT_TRUE(sponsor_.OpenImage(lease.key.id).ok());
  EXPECT_FALSE(sponsor_.GivenBack(lease.key.id).value());
  ASSERT_TRUE(sponsor_.Free(lease.key).ok());
  EXPECT_TRUE(sponsor_.GivenBack(lease.key.id).value());
  EXPECT_FALSE(Dial(lease.key).ok());
  sponsor_.Sweep();
  EXPECT_EQ(sponsor_.GivenBack(lease.key.id).status().code(), ErrorCode::kNotFound);
}

TEST_F(ImageSponsorTest, TheOperatorSeesWhatIsOfferedAndWhatIsLeftOfIt) {
  EXPECT_TRUE(sponsor_.List().empty());
  const control::Lease lease = Offer();
  ASSERT_TRUE(sponsor_.OpenImage(lease.key.id).ok());
  ASSERT_TRUE(Dial(lease.key).value()->Release(Slot(3)).ok());
  const auto list = sponsor_.List();
  ASSERT_EQ(list.size(), 1U);
  EXPECT_EQ(list[0].id, lease.key.id);
  EXPECT_EQ(list[0].region, "vm");
  EXPECT_EQ(list[0].reserved, Bytes(16 * kPage));
  EXPECT_EQ(list[0].written, Bytes(15 * kPage));
}

TEST_F(ImageSponsorTest, NothingIsReservedOrExtended) {
  EXPECT_EQ(sponsor_.Reserve({}).status().code(), ErrorCode::kUnsupported);
  EXPECT_EQ(sponsor_.Extend(Offer().key, 5).status().code(), ErrorCode::kUnsupported);
}

}  // namespace
}  // namespace heca::store
