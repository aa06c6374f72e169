// SPDX-License-Identifier: LGPL-2.1-or-later
#include "wire/message.h"

#include <gtest/gtest.h>

#include <vector>

namespace heca::wire {
namespace {

using RequestBytes = std::array<std::byte, kMaxRequestSize>;
using AnswerBytes = std::array<std::byte, kAnswerSize>;

std::vector<Slot> Slots(std::size_t count) {
  std::vector<Slot> slots;
  for (std::size_t i = 0; i < count; ++i) slots.emplace_back(static_cast<std::uint32_t>(0xFFFF0000 + i));
  return slots;
}

std::span<const std::byte, kRequestHeaderSize> Header(const RequestBytes& bytes) {
  return std::span<const std::byte, kMaxRequestSize>(bytes).first<kRequestHeaderSize>();
}

AnswerBytes Encoded(const Answer& answer) {
  AnswerBytes bytes{};
  Encode(answer, bytes);
  return bytes;
}

TEST(Request, SurvivesTheWireAtEveryLength) {
  for (std::size_t count = 1; count <= kMaxBatch; ++count) {
    RequestBytes bytes;
    bytes.fill(std::byte{0xEE});
    const auto slots = Slots(count);
    const std::size_t size = EncodeRequest(RequestKind::kWriteAgain, RequestId(count), slots, bytes);
    ASSERT_EQ(size, RequestSize(count));
    const auto header = DecodeRequestHeader(Header(bytes));
    ASSERT_TRUE(header.ok()) << header.status().ToString();
    EXPECT_EQ(header->kind, RequestKind::kWriteAgain);
    EXPECT_EQ(header->count, count);
    EXPECT_EQ(header->id, RequestId(count));
    std::array<Slot, kMaxBatch> decoded{};
    ASSERT_TRUE(DecodeSlots(*header, std::span(bytes).subspan(kRequestHeaderSize, size - kRequestHeaderSize), decoded).ok());
    EXPECT_TRUE(std::equal(slots.begin(), slots.end(), decoded.begin()));
  }
}

TEST(Request, RefusesUnknownKindsCountsIdsAndReservedBytes) {
  RequestBytes good{};
  EncodeRequest(RequestKind::kRead, RequestId(1), Slots(1), good);
  ASSERT_TRUE(DecodeRequestHeader(Header(good)).ok());
  const auto refused = [&](std::size_t at, std::uint8_t value) {
    RequestBytes bad = good;
    bad[at] = std::byte{value};
    return !DecodeRequestHeader(Header(bad)).ok();
  };
  EXPECT_TRUE(refused(0, 0));
  EXPECT_TRUE(refused(0, 5));
  EXPECT_TRUE(refused(0, 255));
  EXPECT_TRUE(refused(1, 1));
  EXPECT_TRUE(refused(2, 0));
  EXPECT_TRUE(refused(2, 65));
  EXPECT_TRUE(refused(3, 255));
  EXPECT_TRUE(refused(4, 1));
  EXPECT_TRUE(refused(8, 0));
}

TEST(Request, RefusesSlotListsThatDoNotFitTheirHeader) {
  RequestBytes bytes{};
  const std::size_t size = EncodeRequest(RequestKind::kRead, RequestId(1), Slots(5), bytes);
  const auto list = std::span<const std::byte>(bytes).subspan(kRequestHeaderSize, size - kRequestHeaderSize);
  std::array<Slot, kMaxBatch> slots{};
  const RequestHeader five{RequestKind::kRead, 5, RequestId(1)};
  ASSERT_TRUE(DecodeSlots(five, list, slots).ok());
  EXPECT_FALSE(DecodeSlots(five, list.first(list.size() - 4), slots).ok());
  EXPECT_FALSE(DecodeSlots(five, list.first(list.size() - 16), slots).ok());
  // One slot too few is padding that holds a slot; one too many is slot 0.
  EXPECT_FALSE(DecodeSlots({RequestKind::kRead, 6, RequestId(1)}, list, slots).ok());
  const RequestHeader absurd{RequestKind::kRead, 65535, RequestId(1)};
  EXPECT_FALSE(DecodeSlots(absurd, list, slots).ok());
  RequestBytes padded = bytes;
  padded[size - 1] = std::byte{1};
  EXPECT_FALSE(DecodeSlots(five, std::span<const std::byte>(padded).subspan(kRequestHeaderSize, list.size()), slots).ok());
}

TEST(Answer, SurvivesTheWire) {
  const auto done = DecodeAnswer(Encoded({ErrorCode::kOk, 64, kNoSlot, RequestId(9)}));
  ASSERT_TRUE(done.ok()) << done.status().ToString();
  EXPECT_EQ(done->code, ErrorCode::kOk);
  EXPECT_EQ(done->pages, 64);
  EXPECT_EQ(done->id, RequestId(9));
  const auto failed = DecodeAnswer(Encoded({ErrorCode::kDataLoss, 0, Slot(3), RequestId(10)}));
  ASSERT_TRUE(failed.ok()) << failed.status().ToString();
  EXPECT_EQ(failed->code, ErrorCode::kDataLoss);
  EXPECT_EQ(failed->slot, Slot(3));
}

TEST(Answer, RefusesContradictions) {
  const AnswerBytes done = Encoded({ErrorCode::kOk, 1, kNoSlot, RequestId(9)});
  const auto refused = [](AnswerBytes bytes, std::size_t at, std::uint8_t value) {
    bytes[at] = std::byte{value};
    return !DecodeAnswer(bytes).ok();
  };
  EXPECT_TRUE(refused(done, 0, 0));
  EXPECT_TRUE(refused(done, 0, 3));
  EXPECT_TRUE(refused(done, 1, 1));   // done with an error
  EXPECT_TRUE(refused(done, 2, 65));  // more pages than a batch
  EXPECT_TRUE(refused(done, 4, 1));   // done with a slot at fault
  EXPECT_TRUE(refused(done, 8, 0));
  const AnswerBytes failed = Encoded({ErrorCode::kDataLoss, 0, Slot(3), RequestId(9)});
  EXPECT_TRUE(refused(failed, 1, 0));
  EXPECT_TRUE(refused(failed, 1, 14));
  EXPECT_TRUE(refused(failed, 2, 1));  // failed with pages
}

}  // namespace
}  // namespace heca::wire
